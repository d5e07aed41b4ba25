package kafka_test

import (
	"reflect"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// totals looks at the sink's counters after each transaction.
type totals struct {
	journal[kafka.Metrics]
	run *pipeline.Running
}

func (s *totals) RunStarted(r *pipeline.Running)                                  { s.run = r }
func (s *totals) RunEnded(r *pipeline.Running, _ error)                           { s.look(r) }
func (s *totals) TransactionEnded(r *pipeline.Running, _ pipeline.TransactionEnd) { s.look(r) }
func (s *totals) look(r *pipeline.Running)                                        { s.add(r.Sink.(*kafka.Sink).Metrics()) }

// A producer that takes another's place goes on counting where that one ended.
func TestSinkMetricsOverSeveralProducers(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	const n = 100
	c.Produce(numbered("in", 0, n)...)
	var refused atomic.Int32
	c.fake.Fake().ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		if refused.Add(1) > 2 {
			return nil, nil, false
		}
		res := r.(*kmsg.EndTxnRequest).ResponseKind().(*kmsg.EndTxnResponse)
		res.ErrorCode = kerr.InvalidProducerEpoch.Code
		return res, nil, true
	})
	var stats pipeline.Stats
	watch := &totals{}
	cfg := c.config()
	cfg.Stats, cfg.Observers = &stats, []pipeline.Observer{watch}
	noError(t, run(t, copying("copy"), cfg), "run")

	snap := stats.Snapshot()
	if snap.Recoveries != 3 || snap.UnknownByReason["commit"] != 2 {
		t.Errorf("%d initialisations, unknown %v", snap.Recoveries, snap.UnknownByReason)
	}
	all := watch.list()
	for i := 1; i < len(all); i++ {
		before, after := reflect.ValueOf(all[i-1]), reflect.ValueOf(all[i])
		for _, name := range []string{"RecordsSent", "RecordsAcked", "RecordsFailed", "Requests", "Batches", "BatchBytes", "RequestTime"} {
			if b, a := before.FieldByName(name).Int(), after.FieldByName(name).Int(); a < b {
				t.Errorf("look %d: %s is %d after %d", i, name, a, b)
			}
		}
	}
	if last := all[len(all)-1]; last.RecordsAcked != snap.Outputs || last.RecordsAcked < 2*n {
		t.Errorf("%d acknowledged, the pipeline has put out %d", last.RecordsAcked, snap.Outputs)
	}
	if q := watch.run.Sink.(*kafka.Sink).RequestLatency(1); q <= 0 {
		t.Errorf("request latency %v", q)
	}
}
