package instruments

import (
	"slices"
	"strings"
	"sync"

	"github.com/leat-stream/leat/pipeline"
)

// Family is what one instrument says, a point for each combination of labels.
type Family struct {
	*Instrument
	Points []Point
}

// Point is one value.
type Point struct {
	// Labels are the values of Pipeline and of the instrument's own labels, in order.
	Labels []string
	// Value is the number, Distribution that of a histogram, in nanoseconds if its unit
	// is the second.
	Value        float64
	Distribution pipeline.Distribution
}

// Collect reads every instrument. Several runs of one pipeline make one point; of runs that
// have ended only what grows counts.
func Collect(runs []*pipeline.Running) []Family { return collect(runs, nil) }

func collect(runs []*pipeline.Running, past map[*Instrument]*points) []Family {
	views := make([]*view, len(runs))
	for i, r := range runs {
		views[i] = look(r)
	}
	var all []Family
	for _, ins := range All {
		p := newPoints(past[ins])
		for _, v := range views {
			p.add(ins, v)
		}
		if len(p.list) > 0 {
			all = append(all, Family{ins, p.list})
		}
	}
	return all
}

// points are an instrument's, by their labels.
type points struct {
	list []Point
	at   map[string]int
}

func newPoints(from *points) *points {
	p := &points{at: map[string]int{}}
	if from != nil {
		p.list = slices.Clone(from.list)
		for k, i := range from.at {
			p.at[k] = i
		}
	}
	return p
}

func (p *points) add(ins *Instrument, v *view) {
	if v.snap.Phase == pipeline.PhaseEnded && ins.Kind != Counter && ins.Kind != Histogram {
		return
	}
	ins.read(v, func(x value, labels ...string) {
		labels = append([]string{v.run.Pipeline.Name()}, labels...)
		key := strings.Join(labels, "\xff") // no UTF-8 has this byte
		i, ok := p.at[key]
		if !ok {
			p.at[key] = len(p.list)
			p.list = append(p.list, Point{Labels: labels, Value: x.number, Distribution: x.dist})
			return
		}
		to := &p.list[i]
		to.Distribution = to.Distribution.Plus(x.dist)
		if ins.Kind == Gauge {
			to.Value = max(to.Value, x.number)
		} else {
			to.Value += x.number
		}
	})
}

// Runs are the runs of a process. It is a [pipeline.Observer]; what runs have counted that
// have ended since stays in the counters, so that those of a pipeline that is run again and
// again only grow. The zero value is ready; it may be used from any goroutine.
type Runs struct {
	mu   sync.Mutex
	live []*pipeline.Running
	past map[*Instrument]*points
}

// RunStarted adds a run.
func (r *Runs) RunStarted(run *pipeline.Running) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.live = append(r.live, run)
}

// RunEnded keeps what a run has counted.
func (r *Runs) RunEnded(run *pipeline.Running, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.Index(r.live, run)
	if i < 0 {
		return
	}
	r.live = slices.Delete(r.live, i, i+1)
	if r.past == nil {
		r.past = map[*Instrument]*points{}
	}
	v := look(run)
	v.snap.Phase = pipeline.PhaseEnded
	for _, ins := range All {
		if r.past[ins] == nil {
			r.past[ins] = newPoints(nil)
		}
		r.past[ins].add(ins, v)
	}
}

// Collect is [Collect] of these runs.
func (r *Runs) Collect() []Family {
	r.mu.Lock()
	defer r.mu.Unlock()
	return collect(r.live, r.past)
}
