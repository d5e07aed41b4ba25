package otel_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// measured has stages that count something of their own.
func measured(name string) *pipeline.Pipeline {
	p := pipeline.New(name, pipeline.DeadLetter("dlq"))
	table := pipeline.Table(p, "names", serde.String(), serde.String())
	cached := stages.Cached(table, stages.CachedConfig{})
	good := stages.CheckCtx(pipeline.From(p, "in", serde.String()), "check", func(_ context.Context, v string) error {
		time.Sleep(3 * time.Millisecond) // fake time
		if v == "bad" {
			return errors.New("no")
		}
		return nil
	})
	kept := stages.Filter(good, "keep", func(v string) bool { return v != "drop" })
	full := stages.Enrich(kept, "name", func(string) string { return "k" }, cached, func(v, name string) string { return v + name })
	pipeline.To(full, "out", serde.String())
	return p
}

// OpenTelemetry and the text for Prometheus say the same by the same names, in the midst of
// a run and after it.
func TestMeterSaysWhatTheTextSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := measured("mill")
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2)})
		c.Feed("names", pipelinetest.Text("k", "n"))
		for i := range 60 {
			c.Feed("in", pipelinetest.Text("k", []string{"good", "bad", "drop"}[i%3]).On(int32(i%2)))
		}
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
		m, runs := newMetering(t, otel.MeterConfig{}), &instruments.Runs{}
		work := c.Start(t.Context(), p, pipelinetest.Engine(pipeline.Observers(m, runs), pipeline.CommitEvery(20*time.Millisecond, 0, 0)))
		compare := func(when string, instrumentsSeen int) {
			t.Helper()
			fromText, fromMeter := scraped(t, runs), m.series(t)
			maps.DeleteFunc(fromMeter, func(id string, _ float64) bool { return strings.HasPrefix(id, "messaging_") })
			for _, all := range []map[string]float64{fromText, fromMeter} {
				withoutEmpty(all)
				// One has those of the last hand-over, the other those of the record before.
				maps.DeleteFunc(all, func(id string, _ float64) bool { return strings.HasPrefix(id, "leat_record_duration") })
			}
			names := map[string]bool{}
			for id, want := range fromText {
				if got, ok := fromMeter[id]; !ok || abs(got-want) > 1e-9 {
					t.Errorf("%s: %s is %v (%v) for OpenTelemetry, %v in the text", when, id, got, ok, want)
				}
				names[id[:strings.IndexByte(id, '{')]] = true
			}
			for id := range fromMeter {
				if _, ok := fromText[id]; !ok {
					t.Errorf("%s: %s is not in the text", when, id)
				}
			}
			if len(names) < instrumentsSeen {
				t.Errorf("%s: %d names only", when, len(names))
			}
		}
		time.Sleep(52 * time.Millisecond) // fake time
		synctest.Wait()
		compare("in the midst", 25)
		time.Sleep(5 * time.Second) // fake time
		synctest.Wait()
		compare("when all is done", 25)
		if err := work.Stop(); err != nil {
			t.Fatal(err)
		}
		compare("after the run", 15)
		if n := scraped(t, runs)["leat_committed_records_total{pipeline=mill}"]; n != 60 {
			t.Errorf("%v committed, want 60", n)
		}
	})
}

// withoutEmpty leaves out histograms without a value, which OpenTelemetry does not have.
func withoutEmpty(all map[string]float64) {
	for id := range maps.Clone(all) {
		if histogram, ok := strings.CutSuffix(id, " sum"); ok && all[histogram] == 0 {
			delete(all, id)
			delete(all, histogram)
		}
	}
}

func abs(f float64) float64 { return max(f, -f) }

// Every instrument is there after a run, over the real protocol, with the values that are
// known beforehand.
func TestMeterOverKafka(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "out", "dlq", "names")
	c.Produce(record("names", "n"))
	for i := range 30 {
		c.Produce(record("in", []string{"good", "bad", "drop"}[i%3]))
	}
	m := newMetering(t, otel.MeterConfig{Group: "millers"})
	const runs = 2
	for range runs { // a second group reads all of it again
		c.measure(t, measured("mill"), m)
	}
	got := m.series(t)
	for id, want := range map[string]float64{
		"leat_input_records_total{pipeline=mill}": 30, "leat_committed_records_total{pipeline=mill}": 30, "leat_output_records_total{pipeline=mill}": 10,
		"leat_stage_records_in_total{kind=input,pipeline=mill,stage=in}":         30,
		"leat_stage_records_out_total{kind=check,pipeline=mill,stage=check}":     20,
		"leat_stage_records_dropped_total{kind=filter,pipeline=mill,stage=keep}": 10,
		"leat_stage_dead_letters_total{kind=check,pipeline=mill,stage=check}":    10,
		"leat_stage_records_in_total{kind=output,pipeline=mill,stage=out}":       10,
		"leat_cache_misses_total{pipeline=mill,stage=name}":                      1,
		"leat_cache_hits_total{pipeline=mill,stage=name}":                        9,
		"leat_producer_records_acked_total{pipeline=mill}":                       20,
		"leat_transaction_records{outcome=committed,pipeline=mill} sum":          30,
		"leat_aborts_total{pipeline=mill,reason=commit}":                         0,
	} {
		if got[id] != want*runs {
			t.Errorf("%s is %v, want %v", id, got[id], want*runs)
		}
	}
	commits := got["leat_commits_total{pipeline=mill}"]
	for id, want := range map[string]float64{
		"messaging_client_consumed_messages_total{messaging_consumer_group_name=millers,messaging_destination_name=in,messaging_operation_name=poll,messaging_system=kafka,pipeline=mill}":        30 * runs,
		"messaging_client_sent_messages_total{messaging_operation_name=send,messaging_system=kafka,pipeline=mill}":                                                                                20 * runs,
		"messaging_client_sent_messages_total{error_type=_OTHER,messaging_operation_name=send,messaging_system=kafka,pipeline=mill}":                                                              0,
		"messaging_client_operation_duration_seconds{messaging_consumer_group_name=millers,messaging_operation_name=commit,messaging_operation_type=settle,messaging_system=kafka,pipeline=mill}": commits,
		"messaging_process_duration_seconds{messaging_consumer_group_name=millers,messaging_destination_name=in,messaging_operation_name=process,messaging_system=kafka,pipeline=mill}":           got["leat_record_duration_seconds{pipeline=mill}"],
	} {
		if n, ok := got[id]; !ok || n != want {
			t.Errorf("%s is %v (%v), want %v", id, n, ok, want)
		}
	}
	if n := got["leat_record_duration_seconds{pipeline=mill}"]; commits < runs || n < 50 { // those that take 3 ms are all timed
		t.Errorf("%v commits, %v records timed", commits, n)
	}
	// After the runs what is of a moment is gone; all else has a point.
	for _, i := range instruments.All {
		found := false
		for id := range got {
			found = found || strings.HasPrefix(id, i.Prometheus()+"{")
		}
		if grows := i.Kind == instruments.Counter || i.Kind == instruments.Histogram; found != grows {
			t.Errorf("%s has a point: %v", i.Name, found)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.series(t)["leat_input_records_total{pipeline=mill}"]; ok {
		t.Error("read after Close")
	}
}

// measure runs a pipeline to the end of its input, in a group of its own.
func (c *cluster) measure(t testing.TB, p *pipeline.Pipeline, o pipeline.Observer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := kafka.Run(ctx, p, kafka.Config{
		Brokers: c.fake.Brokers(), Group: fmt.Sprint(time.Now().UnixNano()), CommitInterval: 20 * time.Millisecond, UntilEnd: true,
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, Logger: silent, Observers: []pipeline.Observer{o},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What is of a moment is there while a run is.
func TestMeterDuringARun(t *testing.T) {
	t.Parallel()
	c := start(t, "in", "out", "dlq", "names")
	m := newMetering(t, otel.MeterConfig{})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- kafka.Run(ctx, measured("mill"), kafka.Config{
			Brokers: c.fake.Brokers(), CommitInterval: 20 * time.Millisecond, Logger: silent, Observers: []pipeline.Observer{m},
		})
	}()
	var missing []string
	c.Await("all instruments", func() bool {
		got := m.series(t)
		missing = nil
		for _, i := range instruments.All {
			found := i.Kind == instruments.Histogram // there is no input
			for id := range got {
				found = found || strings.HasPrefix(id, i.Prometheus()+"{")
			}
			if !found {
				missing = append(missing, i.Name)
			}
		}
		return len(missing) == 0 && got["leat_consumer_partitions{pipeline=mill,topic=in}"] == 1 && got["leat_runs{phase=running,pipeline=mill}"] == 1 &&
			got["leat_producer_buffer_available_bytes{pipeline=mill}"] == got["leat_producer_buffer_total_bytes{pipeline=mill}"] && got["leat_producer_buffer_total_bytes{pipeline=mill}"] > 0
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// fleeting remembers a run without holding it.
type fleeting struct {
	run weak.Pointer[pipeline.Running]
}

func (f *fleeting) RunStarted(r *pipeline.Running)    { f.run = weak.Make(r) }
func (f *fleeting) RunEnded(*pipeline.Running, error) {}

// Nothing is kept of a run that has ended, with all its tables, but its counts.
func TestMeterLetsGoOfARun(t *testing.T) {
	m, f := newMetering(t, otel.MeterConfig{}), &fleeting{}
	func() {
		p := measured("mill")
		c := pipelinetest.For(p)
		c.Feed("names", pipelinetest.Text("k", "n"))
		c.Feed("in", pipelinetest.Text("k", "good"))
		pipelinetest.Run(t, p, c, pipelinetest.Engine(pipeline.Observers(m, f)))
	}()
	deadline := time.Now().Add(10 * time.Second)
	for f.run.Value() != nil {
		if time.Now().After(deadline) {
			t.Fatal("the run is still held")
		}
		runtime.GC()
	}
	if n := m.series(t)["leat_committed_records_total{pipeline=mill}"]; n != 1 {
		t.Errorf("%v committed, want 1", n)
	}
}
