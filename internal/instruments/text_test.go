package instruments_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// parse reads the text with Prometheus' own parser: series with their labels, and values.
// A histogram has its count, its sum, and a value for each bucket.
func parse(t testing.TB, runs ...*pipeline.Running) map[string]float64 {
	t.Helper()
	var text bytes.Buffer
	if err := instruments.WriteText(&text, runs); err != nil {
		t.Fatal(err)
	}
	return series(t, text.String())
}

func series(t testing.TB, text string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	all := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.GetMetric() {
			id := name + labels(m.GetLabel())
			if _, twice := all[id]; twice {
				t.Errorf("%s is there twice", id)
			}
			switch f.GetType() {
			case io_prometheus_client.MetricType_COUNTER:
				all[id] = m.GetCounter().GetValue()
			case io_prometheus_client.MetricType_GAUGE:
				all[id] = m.GetGauge().GetValue()
			case io_prometheus_client.MetricType_HISTOGRAM:
				h := m.GetHistogram()
				all[id], all[id+" sum"] = float64(h.GetSampleCount()), h.GetSampleSum()
				var before uint64
				for _, b := range h.GetBucket() {
					if b.GetCumulativeCount() < before {
						t.Errorf("%s: bucket %v holds less than the one before", id, b.GetUpperBound())
					}
					before = b.GetCumulativeCount()
					all[fmt.Sprintf("%s le %v", id, b.GetUpperBound())] = float64(before)
				}
			default:
				t.Errorf("%s is a %v", id, f.GetType())
			}
		}
	}
	return all
}

func labels(pairs []*io_prometheus_client.LabelPair) string {
	var all []string
	for _, p := range pairs {
		all = append(all, p.GetName()+"="+p.GetValue())
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}

// The translation of names is that of OpenTelemetry's exporter for Prometheus.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	types := map[instruments.Kind]otlptranslator.MetricType{
		instruments.Counter: otlptranslator.MetricTypeMonotonicCounter, instruments.UpDown: otlptranslator.MetricTypeNonMonotonicCounter,
		instruments.Gauge: otlptranslator.MetricTypeGauge, instruments.Histogram: otlptranslator.MetricTypeHistogram,
	}
	translate := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	for _, i := range instruments.All {
		want, err := translate.Build(otlptranslator.Metric{Name: i.Name, Unit: i.Unit, Type: types[i.Kind]})
		if got := i.Prometheus(); err != nil || got != want || seen[got] || seen[i.Name] {
			t.Errorf("%s is %s, want %s (%v)", i.Name, got, want, err)
		}
		seen[i.Name], seen[i.Prometheus()] = true, true
		if !strings.HasPrefix(i.Name, "leat.") || !strings.HasSuffix(i.Help, ".") || (i.Kind == instruments.Histogram) != (len(i.Bounds) > 0) || !slices.IsSorted(i.Bounds) {
			t.Errorf("%s: %q, bounds %v", i.Name, i.Help, i.Bounds)
		}
	}
}

// witness keeps the run.
type witness struct{ runs []*pipeline.Running }

func (w *witness) RunStarted(r *pipeline.Running)    { w.runs = append(w.runs, r) }
func (w *witness) RunEnded(*pipeline.Running, error) {}

// branched has every kind of stage that counts something of its own.
func branched(name string) *pipeline.Pipeline {
	p := pipeline.New(name, pipeline.DeadLetter("dlq"))
	names := pipeline.Table(p, "names", serde.String(), serde.String())
	cached := stages.Cached(names, stages.CachedConfig{})
	in := pipeline.From(p, "in", serde.String())
	good := stages.Check(in, "check", func(v string) error {
		if v[0] == 'x' {
			return errors.New("no")
		}
		return nil
	})
	kept := stages.Filter(good, "keep", func(v string) bool { return v[0] != 'f' })
	full := stages.Enrich(kept, "name", func(v string) string { return v[:1] }, cached, func(v, name string) string { return v + name })
	pipeline.To(full, "out", serde.String())
	return p
}

// input is 10 records that become outputs, 4 that are dropped and 3 dead letters.
func input(c *pipelinetest.Cluster) {
	c.Feed("names", pipelinetest.Text("a", "mill"))
	for i := range 17 {
		c.Feed("in", pipelinetest.Text("k", map[bool]string{true: "a", false: map[bool]string{true: "f", false: "x"}[i < 14]}[i < 10]))
	}
}

func TestTextOfARun(t *testing.T) {
	p := branched("mill")
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	input(c)
	c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
	w := &witness{}
	snap := pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Observers(w)))
	got := parse(t, w.runs...)
	for id, want := range map[string]float64{
		"leat_input_records_total{pipeline=mill}":        float64(snap.Records),
		"leat_committed_records_total{pipeline=mill}":    17,
		"leat_output_records_total{pipeline=mill}":       float64(snap.Outputs),
		"leat_commits_total{pipeline=mill}":              float64(snap.Commits),
		"leat_aborts_total{pipeline=mill,reason=commit}": 1, "leat_aborts_total{pipeline=mill,reason=send}": 0,
		"leat_stage_records_in_total{kind=input,pipeline=mill,stage=in}":           float64(snap.Records),
		"leat_stage_records_dropped_total{kind=filter,pipeline=mill,stage=keep}":   float64(stage(snap, "keep").Dropped),
		"leat_stage_records_out_total{kind=filter,pipeline=mill,stage=keep}":       float64(stage(snap, "keep").Out),
		"leat_stage_dead_letters_total{kind=check,pipeline=mill,stage=check}":      float64(snap.DeadLetters),
		"leat_cache_misses_total{pipeline=mill,stage=name}":                        1,
		"leat_cache_hits_total{pipeline=mill,stage=name}":                          float64(stage(snap, "name").In - 1),
		"leat_transaction_records{outcome=aborted,pipeline=mill}":                  1,
		"leat_transaction_records{outcome=committed,pipeline=mill}":                float64(snap.Commits),
		"leat_transaction_records{outcome=committed,pipeline=mill} sum":            17,
		"leat_transaction_duration_seconds{outcome=committed,pipeline=mill} le 60": float64(snap.Commits),
		"leat_record_duration_seconds{pipeline=mill} le 60":                        float64(snap.RecordTime.Count()),
		"leat_sessions_total{pipeline=mill}":                                       float64(snap.Sessions),
	} {
		if n, ok := got[id]; !ok || n != want {
			t.Errorf("%s is %v (%v), want %v", id, n, ok, want)
		}
	}
	if snap.Records < 34-3 || stage(snap, "keep").Dropped != 8 {
		t.Errorf("after a replay: %d records, %d dropped", snap.Records, stage(snap, "keep").Dropped)
	}
	for id := range got {
		if strings.Contains(id, "lag") || strings.Contains(id, "leat_runs") || strings.Contains(id, "leat_table") {
			t.Errorf("%s of a run that has ended", id)
		}
	}
}

func stage(s pipeline.Snapshot, name string) pipeline.StageStats {
	for _, x := range s.Stages {
		if x.Name == name {
			return x
		}
	}
	return pipeline.StageStats{}
}

// What names may be is escaped.
func TestTextIsEscaped(t *testing.T) {
	name := "a \"mill\"\\\nby the leat"
	p := pipeline.New(name)
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	w := &witness{}
	pipelinetest.Run(t, p, pipelinetest.For(p), pipelinetest.Engine(pipeline.Observers(w)))
	if _, ok := parse(t, w.runs...)["leat_commits_total{pipeline="+name+"}"]; !ok {
		t.Error("the name is not what it was")
	}
}

// Before anything is open, and with no run at all, there is text, too.
func TestTextOfNothing(t *testing.T) {
	if got := parse(t); len(got) != 0 {
		t.Errorf("%v", got)
	}
	p := branched("early")
	got := parse(t, &pipeline.Running{Pipeline: p, Stats: new(pipeline.Stats)})
	if n := got["leat_consumer_lag{pipeline=early,topic=in}"]; n != 0 || len(got) == 0 {
		t.Errorf("lag %v of %d series", n, len(got))
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("closed") }

func TestTextReportsTheWriter(t *testing.T) {
	err := instruments.WriteText(failing{}, []*pipeline.Running{{Pipeline: branched("p"), Stats: new(pipeline.Stats)}})
	if err == nil {
		t.Error("no error")
	}
}

// A run with many partitions has the series of a run with one.
func TestCardinality(t *testing.T) {
	ids := map[int32]map[string]float64{}
	for _, partitions := range []int32{1, 1000} {
		p := branched("mill")
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, partitions)})
		c.Feed("names", pipelinetest.Text("a", "mill"))
		for i := range partitions {
			c.Feed("in", pipelinetest.Text("k", "a").On(i))
		}
		w := &witness{}
		work := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.Observers(w), pipeline.StopWithin(time.Minute)))
		if err := c.AwaitFinished(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		ids[partitions] = parse(t, w.runs...)
		if n := ids[partitions]["leat_consumer_partitions{pipeline=mill,topic=in}"]; n != float64(partitions) {
			t.Errorf("%v partitions, want %d", n, partitions)
		}
		if err := work.Stop(); err != nil {
			t.Error(err)
		}
	}
	few, many := slices.Sorted(maps.Keys(ids[1])), slices.Sorted(maps.Keys(ids[1000]))
	if !slices.Equal(few, many) {
		t.Errorf("%d series with one partition, %d with 1,000", len(few), len(many))
	}
}

// unwilling encodes nothing.
type unwilling struct{ pipeline.Serde[string] }

func (unwilling) Append(context.Context, []byte, pipeline.Slot, string) ([]byte, error) {
	return nil, errors.New("no")
}

// Outputs may share a name, and failures are counted by name; what fails in a middleware
// has no stage. Each is in the sum once.
func TestDeadLettersAreCountedOnce(t *testing.T) {
	refuse := pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			if string(r.Value) == "stop" {
				return errors.New("no")
			}
			return next(ctx, r)
		}
	})
	p := pipeline.New("mill", pipeline.DeadLetter("dlq"), refuse)
	in := pipeline.From(p, "in", serde.String())
	long, short := stages.Split(in, "length", func(v string) bool { return len(v) > 3 })
	pipeline.To(long, "out", unwilling{serde.String()})
	pipeline.To(short, "out", unwilling{serde.String()})
	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("k", "a"), pipelinetest.Text("k", "long"), pipelinetest.Text("k", "stop"))
	w := &witness{}
	pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Observers(w)))
	got := parse(t, w.runs...)
	for id, want := range map[string]float64{
		"leat_stage_dead_letters_total{kind=output,pipeline=mill,stage=out}": 2, "leat_stage_dead_letters_total{kind=middleware,pipeline=mill,stage=middleware}": 1,
		"leat_stage_records_in_total{kind=output,pipeline=mill,stage=out}": 2,
	} {
		if got[id] != want {
			t.Errorf("%s is %v, want %v", id, got[id], want)
		}
	}
}
