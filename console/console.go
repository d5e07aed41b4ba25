package console

import (
	"slices"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/pipeline"
)

// Console observes runs and shows them. Give it to kafka.Config.Observers, or to
// pipeline.Observers, of each run, and serve it as an http.Handler. All of its methods
// may be called at any time from any goroutine.
//
// Each run costs one snapshot of its counters a second, whether somebody looks or not:
// that is where rates and the curve of the last two minutes come from. All browsers
// share what is made for one.
type Console struct {
	cfg     Config
	page    *page
	began   time.Time
	metrics instruments.Runs // knows runs that are not shown any more, too

	mu     sync.Mutex
	runs   []*run // in the order of their starts
	lastID int

	state cache
}

var (
	_ pipeline.TransactionObserver = (*Console)(nil)
	_ pipeline.DeadLetterObserver  = (*Console)(nil)
)

// New returns a console without runs. It starts nothing and needs no Close.
func New(cfg Config) (*Console, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Console{cfg: cfg.withDefaults(), page: newPage(), began: time.Now()}, nil
}

// maxEnded bounds the runs that are kept after their end.
const maxEnded = 8

// RunStarted implements pipeline.Observer. A run takes the place of one of the same
// pipeline that has ended.
func (c *Console) RunStarted(r *pipeline.Running) {
	c.metrics.RunStarted(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	x := newRun(c.lastID, r, !c.cfg.HidePayloads)
	old := slices.IndexFunc(c.runs, func(x *run) bool { return x.over() && x.of.Pipeline.Name() == r.Pipeline.Name() })
	if old >= 0 {
		c.runs = slices.Delete(c.runs, old, old+1)
	}
	c.runs = append(c.runs, x)
	x.start()
}

// RunEnded implements pipeline.Observer.
func (c *Console) RunEnded(r *pipeline.Running, err error) {
	x := c.find(r)
	if x == nil {
		return
	}
	x.end(err)
	c.metrics.RunEnded(r, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget()
}

// forget drops the oldest runs that have ended when there are too many; those without
// an error first.
func (c *Console) forget() {
	ended := 0
	for _, x := range c.runs {
		if x.over() {
			ended++
		}
	}
	for ; ended > maxEnded; ended-- {
		i := slices.IndexFunc(c.runs, func(x *run) bool { return x.over() && x.failure() == nil })
		if i < 0 {
			i = slices.IndexFunc(c.runs, (*run).over)
		}
		c.runs = slices.Delete(c.runs, i, i+1)
	}
}

// TransactionEnded implements pipeline.TransactionObserver.
func (c *Console) TransactionEnded(r *pipeline.Running, t pipeline.TransactionEnd) {
	if x := c.find(r); x != nil {
		x.transactionEnded(t)
	}
}

// DeadLettered implements pipeline.DeadLetterObserver.
func (c *Console) DeadLettered(r *pipeline.Running, letters []pipeline.DeadLettered) {
	if x := c.find(r); x != nil {
		x.letters.keep(letters)
	}
}

func (c *Console) find(r *pipeline.Running) *run {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.IndexFunc(c.runs, func(x *run) bool { return x.of == r }); i >= 0 {
		return c.runs[i]
	}
	return nil
}

// all are the runs as of now.
func (c *Console) all() []*run {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.runs)
}
