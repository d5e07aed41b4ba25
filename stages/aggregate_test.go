package stages_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

var totalsIn = stages.AggregateConfig{Topic: "totals"}

// sum adds the number that a value begins with; what follows is for the stages behind.
func sum(total int64, v string) (int64, error) {
	number, _, _ := strings.Cut(v, ":")
	n, err := strconv.ParseInt(number, 10, 64)
	return total + n, err
}

// summed is a pipeline of sums, and of what stands behind; out is the window's begin, in seconds after when, and
// the sum.
func summed(cfg stages.AggregateConfig, opts ...pipeline.Option) (*pipeline.Pipeline, pipeline.Stream[string]) {
	p, in := strs(opts...)
	s := stages.Aggregate(in, "sum", serde.JSON[int64](), sum, cfg)
	return p, stages.Map(s, "text", func(w stages.Windowed[int64]) (string, error) {
		if w.Start.IsZero() {
			return fmt.Sprint(w.Value), nil
		}
		return fmt.Sprintf("%d-%d=%d", w.Start.Sub(when)/time.Second, w.End.Sub(when)/time.Second, w.Value), nil
	})
}

// timed is an event of a key, of "seconds key value".
func timed(t *testing.T, offset int64, text string) *pipeline.Raw {
	t.Helper()
	seconds, rest, _ := strings.Cut(text, " ")
	after, err := strconv.Atoi(seconds)
	if err != nil {
		t.Fatal(err)
	}
	r := keyedEvent(offset, rest)
	r.Timestamp = when.Add(time.Duration(after) * time.Second)
	return r
}

func TestAggregate(t *testing.T) {
	window := func(size, every, grace time.Duration) stages.AggregateConfig {
		return stages.AggregateConfig{Topic: "totals", Window: size, Every: every, Grace: grace}
	}
	for name, c := range map[string]struct {
		cfg      stages.AggregateConfig
		in, want string
	}{
		"for all time":        {totalsIn, "0 a 1, 900000 b 10, -900000 a 2, 0 b 20", "1 10 3 30"},
		"tumbling":            {window(10*time.Second, 0, time.Minute), "0 a 1, 9 a 2, 10 a 4, 9 a 8, 10 b 1", "0-10=1 0-10=3 10-20=4 0-10=11 10-20=1"},
		"late":                {window(10*time.Second, 0, 5*time.Second), "0 a 1, 14 a 2, 9 a 4, 15 b 1, 9 a 8, 10 a 1", "0-10=1 10-20=2 0-10=5 10-20=1 [8] 10-20=3"},
		"late for some":       {window(10*time.Second, 5*time.Second, time.Millisecond), "7 a 1, 11 a 2, 9 a 4, 20 a 8, 9 a 16", "0-10=1 5-15=1 5-15=3 10-20=2 5-15=7 15-25=8 20-30=8 [16]"},
		"hopping, uneven":     {window(10*time.Second, 4*time.Second, time.Hour), "3 a 1, 4 a 2", "-4-6=1 0-10=1 -4-6=3 0-10=3 4-14=2"},
		"before 1970":         {window(10*time.Second, 0, time.Second), "-2000000000 a 1, -1999999999 a 2", "-2000000000--1999999990=1 -2000000000--1999999990=3"},
		"a bad one":           {totalsIn, "0 a 1, 0 a x, 0 a 2", "1 [x] 3"},
		"a failed one before": {window(10*time.Second, 0, time.Second), "50 a x, 0 a 1, 0 a 2", "[x] 0-10=1 0-10=3"}, // has not closed any window
	} {
		p, s := summed(c.cfg, pipeline.DeadLetter("dead"))
		to(s)
		task := compile(t, p, "in")
		for i, text := range strings.Split(c.in, ", ") {
			if err := task.Process(t.Context(), timed(t, int64(i), text)); err != nil {
				t.Fatal(err)
			}
		}
		if got := outsOf(task); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestAggregateHead(t *testing.T) {
	p, s := summed(totalsIn)
	to(s)
	task := compile(t, p, "in")
	for _, r := range []*pipeline.Raw{event(3, -time.Hour, "1"), raw("2")} {
		if err := task.Process(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	outs := task.Outputs()
	expectHead(t, outs[len(outs)-1])
}

// A record that fails has added nothing, to none of its windows.
func TestAggregateOfFailures(t *testing.T) {
	p, in := strs(pipeline.DeadLetter("dead"))
	behind := stages.Check(stages.Aggregate(in, "sum", serde.JSON[int64](), sum, totalsIn), "behind", func(w stages.Windowed[int64]) error {
		if w.Value == 7 {
			return errOops
		}
		return nil
	})
	to(stages.Map(behind, "text", func(w stages.Windowed[int64]) (string, error) { return fmt.Sprint(w.Value), nil }))
	pipeline.To(stages.Check(in, "beside", func(v string) error {
		if v == "9" {
			return errOops
		}
		return nil
	}), "beside", serde.String())
	task := compile(t, p, "in")
	if got := processed(t, task, 0, "1", "6", "2", "9", "3"); got != "1 [6] 3 [9] 6" {
		t.Errorf("got %q", got)
	}
}

func TestAggregateMistakes(t *testing.T) {
	for want, cfg := range map[string]stages.AggregateConfig{
		"use none below 0":       {Window: -1},
		"-1 bytes":               {MaxBytes: -1},
		"leave gaps":             {Window: time.Second, Every: time.Minute},
		"whole milliseconds":     {Window: time.Microsecond},
		"at most 1000 are":       {Window: time.Hour, Every: time.Second},
		"a serde for its values": {Topic: "no serde"},
	} {
		p, in := strs()
		values := serde.JSON[int64]()
		if cfg.Topic != "" {
			values = nil
		}
		cfg.Topic = "totals"
		pipeline.To(stages.Aggregate(in, "sum", values, sum, cfg), "out", serde.JSON[stages.Windowed[int64]]())
		if err := p.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	p, s := summed(totalsIn)
	to(s)
	r := raw("1")
	r.Key = nil
	if err := compile(t, p, "in").Process(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no key to be aggregated by") {
		t.Errorf("got %v", err)
	}
}

func TestLateIsSaid(t *testing.T) {
	p, s := summed(stages.AggregateConfig{Topic: "totals", Window: time.Second, Grace: time.Second})
	to(s)
	task := compile(t, p, "in")
	for i, text := range []string{"60 a 1", "0 a 1"} {
		err := task.Process(t.Context(), timed(t, int64(i), text))
		if i == 1 && (!errors.Is(err, stages.ErrLate) || !strings.Contains(err.Error(), when.Add(time.Minute).UTC().String())) {
			t.Errorf("got %v", err)
		}
	}
}

// At its bound the pipeline fails rather than forget; what is closed makes room.
func TestAggregateFull(t *testing.T) {
	p, s := summed(stages.AggregateConfig{Topic: "totals", Window: time.Second, Grace: time.Millisecond, MaxBytes: 2 * 210}, pipeline.DeadLetter("dead"))
	to(s)
	for in, full := range map[string]bool{
		"0 a 1, 0 b 1, 0 a 2, 0 c 1":   true,
		"0 a 1, 9 b 1, 9 c 1":          true,
		"0 a 1, 9 b 1, commit, 9 c 1":  false,
		"0 a 1, 0 b 1, commit, 0 c 1":  true,
		"0 a 1, 0 b 1, commit, 0 b 8":  false,
		"0 a 1, 0 b 1, commit, 0 b 99": true, // it is longer
	} {
		task := compile(t, p, "in")
		var err error
		for i, text := range strings.Split(in, ", ") {
			if err != nil {
				t.Fatalf("%s: %v", in, err)
			}
			if text == "commit" {
				err = task.BeforeCommit(t.Context())
			} else {
				err = task.Process(t.Context(), timed(t, int64(i), text))
			}
		}
		if full != errors.Is(err, stages.ErrStateFull) || full != pipeline.IsFatal(err) || !full && err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// A value that is null is put out, and forgotten.
func TestAggregateEnds(t *testing.T) {
	p, in := strs()
	s := stages.Aggregate(in, "until the end", nullable, func(sofar *string, v string) (*string, error) {
		if v == "end" {
			return nil, nil
		}
		if sofar != nil {
			v = *sofar + v
		}
		return &v, nil
	}, totalsIn)
	to(stages.Map(s, "text", func(w stages.Windowed[*string]) (string, error) {
		if w.Value == nil {
			return "nil", nil
		}
		return *w.Value, nil
	}))
	if got := processed(t, compile(t, p, "in"), 0, "a", "b", "end", "c"); got != "a ab nil c" {
		t.Errorf("got %q", got)
	}
}

func TestAggregateBySerdesOfHeaders(t *testing.T) {
	p, in := strs(pipeline.DeadLetter("dead"))
	s := stages.Aggregate(in, "last", heading{nullable}, func(_ *string, v string) (*string, error) { return &v, nil }, totalsIn)
	to(stages.Map(s, "text", func(w stages.Windowed[*string]) (string, error) { return *w.Value, nil }))
	if err := compile(t, p, "in").Process(t.Context(), raw("1")); !pipeline.IsFatal(err) || !strings.Contains(err.Error(), "writes headers") {
		t.Errorf("got %v", err)
	}
}

// Those that were added to one value while they are held are one: none of a value that fails is
// in one that does not.
func TestAggregateBeforeHolders(t *testing.T) {
	p, s := summed(totalsIn, pipeline.DeadLetter("dead"))
	to(stages.Batch(s, "batch", stages.BatchConfig{Size: 1}, func(values []string) ([]string, error) {
		if values[0] == "6" {
			return nil, errOops
		}
		return values, nil
	}))
	task := compile(t, p, "in")
	for i, text := range []string{"0 a 1", "0 a 5", "0 b 1", "0 b 2", "", "0 a 1", "0 a 1", ""} {
		if text == "" {
			if err := task.BeforeCommit(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := task.Process(t.Context(), timed(t, int64(i), text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := outsOf(task); got != "[1] [5] 1 3 1 2" {
		t.Errorf("got %q", got)
	}
}

// timedSums feeds n numbers of some keys to each of two partitions, some late.
func timedSums(c *pipelinetest.Cluster, n int) {
	for part := range int32(2) {
		for i := range n {
			at := time.Duration(i-i%4/3*9) * time.Second
			c.Feed("in", pipelinetest.Text(fmt.Sprintf("k%d-%d", part, i%3), fmt.Sprint(1<<(i%8))).On(part).At(when.Add(at)))
		}
	}
}

func TestAggregateSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := summed(totalsIn)
			to(s)
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { timedSums(c, 30) },
	})
}

// With windows that close; when what is closed is forgotten depends on the commits.
func TestAggregateOfWindowsSurvivesEveryStep(t *testing.T) {
	cfg := stages.AggregateConfig{Topic: "totals", Window: 10 * time.Second, Grace: 2 * time.Second}
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := summed(cfg, pipeline.DeadLetter("dead"))
			to(s)
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { timedSums(c, 30) },
		Check: func(c *pipelinetest.Cluster) error {
			var want, got []string
			for part := range int32(2) {
				latest, sums := time.Time{}, map[string]int64{}
				for _, r := range c.Records("in") {
					if r.Origin.Partition != part {
						continue
					}
					start := r.Timestamp.Truncate(cfg.Window) // when is a multiple of it
					if end := start.Add(cfg.Window + cfg.Grace); !latest.Before(end) {
						want = append(want, "dead "+string(r.Value))
						continue
					}
					latest = time.UnixMilli(max(latest.UnixMilli(), r.Timestamp.UnixMilli()))
					n, err := sum(0, string(r.Value))
					if err != nil {
						return err
					}
					key := fmt.Sprint(string(r.Key), " ", start.Sub(when).Seconds())
					sums[key] += n
					want = append(want, fmt.Sprintf("%s-%v=%d", key, start.Add(cfg.Window).Sub(when).Seconds(), sums[key]))
				}
			}
			for _, r := range c.Records("out") {
				got = append(got, string(r.Key)+" "+string(r.Value))
			}
			for _, r := range c.Records("dead") {
				got = append(got, "dead "+string(r.Value))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				return fmt.Errorf("got %q, want %q", got, want)
			}
			if !strings.HasPrefix(want[0], "dead") || len(stateOf(c, "totals")) > 12 {
				return fmt.Errorf("no window has closed: %q", want)
			}
			return nil
		},
		OnlyCheck: true,
	})
}

func TestAggregateBeforeHoldersSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := summed(totalsIn)
			to(stages.Parallel(s, "parallel", 3, func(v string) (string, error) { return v, nil }))
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { timedSums(c, 30) },
	})
}

// With values that fail behind a stage that holds them, what is put out is what was
// delivered: each record that is no dead letter once.
func TestAggregateWithFailuresSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, in := strs(pipeline.DeadLetter("dead"))
			s := stages.AggregateRecord(in, "sum", serde.JSON[int64](), func(_ context.Context, w stages.Windowed[int64], r *pipeline.Record[string]) (int64, error) {
				return sum(w.Value, r.Value)
			}, totalsIn)
			to(stages.ParallelCtx(s, "parallel", 3, func(_ context.Context, w stages.Windowed[int64]) (string, error) {
				if w.Value%5 == 3 {
					return "", errOops
				}
				return fmt.Sprint(w.Value), nil
			}))
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { timedSums(c, 30) },
		Check: func(c *pipelinetest.Cluster) error {
			var fed, dead, kept int64
			for topic, to := range map[string]*int64{"in": &fed, "dead": &dead} {
				for _, r := range c.Records(topic) {
					n, err := sum(0, string(r.Value))
					if err != nil {
						return err
					}
					*to += n
				}
			}
			for key, v := range stateOf(c, "totals") {
				n, err := strconv.ParseInt(string(v[17:]), 10, 64)
				if err != nil {
					return err
				}
				kept += n
				last := ""
				for _, r := range c.Records("out") {
					if string(r.Key) == key[8:] {
						last = string(r.Value)
					}
				}
				if last != fmt.Sprint(n) {
					return fmt.Errorf("%s: the last that came out is %s, the state %d", key[8:], last, n)
				}
			}
			if fed != dead+kept {
				return fmt.Errorf("%d fed, %d dead, %d kept", fed, dead, kept)
			}
			return nil
		},
		OnlyCheck: true,
	})
}

// Values and the time are there after a restart.
func TestAggregateOverRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := summed(stages.AggregateConfig{Topic: "totals", Window: 10 * time.Second, Grace: time.Second}, pipeline.DeadLetter("dead"))
		to(s)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		for _, text := range []string{"0 a 1", "3 a 2", "10 b 1", "9 a 4", "11 b 2", "10 b 8", "9 a 8", "12 b 4", "10 b 16"} {
			r := timed(t, 0, text)
			c.Feed("in", pipelinetest.Text(string(r.Key), string(r.Value)).At(r.Timestamp))
			if err := c.Run(t.Context(), p, pipelinetest.Instance(text)); err != nil {
				t.Fatal(err)
			}
		}
		if got := pipelinetest.Values(c, "out", serde.String()); !slices.Equal(got, []string{"0-10=1", "0-10=3", "10-20=1", "0-10=7", "10-20=3", "10-20=11", "10-20=15", "10-20=31"}) {
			t.Errorf("got %q", got)
		}
		if got := pipelinetest.Values(c, "dead", serde.String()); !slices.Equal(got, []string{"8"}) {
			t.Errorf("dead letters %q", got)
		}
		kept := stateOf(c, "totals")
		if len(kept) != 1 {
			t.Errorf("the state is %q", kept)
		}
		for _, v := range kept { // of which a compacted topic has only this
			if latest := time.UnixMilli(int64(binary.BigEndian.Uint64(v[9:]))); !latest.Equal(when.Add(12 * time.Second)) {
				t.Errorf("the latest time of what is kept is %v", latest)
			}
		}
	})
}

// An update costs two allocations, what is kept and what goes to the topic, beside the serde's.
func TestAggregateAllocations(t *testing.T) {
	p, in := strs()
	s := stages.Aggregate(in, "longest", serde.String(), func(sofar, v string) (string, error) { return max(sofar, v), nil }, stages.AggregateConfig{Topic: "totals", Window: time.Minute})
	pipeline.To(stages.Filter(s, "none", func(stages.Windowed[string]) bool { return false }), "out", serde.JSON[stages.Windowed[string]]())
	task := compile(t, p, "in")
	const n = 1000
	r := raw("some value")
	run := func() {
		for range n {
			r.Origin.Offset++
			if err := task.Process(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if err := task.BeforeCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
		task.Clear()
		task.Committed()
	}
	run()
	const strings = 2 // the input's value, and the one so far
	if per := testing.AllocsPerRun(5, run)/n - strings; per > 2.1 {
		t.Errorf("an update costs %.2f allocations", per)
	}
}
