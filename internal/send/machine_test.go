package send

import (
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// stub is a world that only notes what it is asked for.
type stub struct {
	requests []*request
	calls    []callKind
}

func (s *stub) produce(r *request) { s.requests = append(s.requests, r) }
func (s *stub) call(c *call)       { s.calls = append(s.calls, c.kind) }
func (s *stub) hangUp(*node)       {}
func (s *stub) view([]string)      {}
func (s *stub) dropCall(*call)     {}

// bench is a machine that a test moves by hand.
type bench struct {
	*stub
	t   *testing.T
	m   *machine
	now time.Time
}

func newBench(t *testing.T, cfg Config, partitions int32) *bench {
	cfg.Acks, cfg.Idempotent, cfg.MaxInFlight, cfg.BufferMemory, cfg.MaxRequestSize = sarama.WaitForAll, true, 5, 1<<20, 1<<20
	cfg.BatchSize = max(cfg.BatchSize, 100)
	cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.MetadataMaxAge = time.Second, time.Minute, time.Hour
	cfg.RetryBackoff, cfg.RetryBackoffMax = 100*time.Millisecond, time.Second
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &bench{stub: &stub{}, t: t, now: simStart}
	acc := newAccumulator(&cfg, func() {})
	acc.now = func() time.Time { return b.now }
	b.m = newMachine(&cfg, acc, b.stub, rand.New(rand.NewPCG(1, 2)), &stats{})
	b.m.id.pid, b.m.id.epoch = 7, 0
	v := &view{brokers: map[int32]string{1: "one"}, topics: map[string]topicView{"t": {}}}
	topic := topicView{}
	for p := range partitions {
		topic.parts = append(topic.parts, partView{id: p, leader: 1})
	}
	v.topics["t"] = topic
	b.m.viewed(v, nil, b.now)
	return b
}

// send sends one record, in a batch of its own.
func (b *bench) send(partition int32) {
	b.t.Helper()
	if err := b.m.acc.append(b.t.Context(), &Record{Topic: "t", Partition: partition, Value: make([]byte, 100)}); err != nil {
		b.t.Fatal(err)
	}
}

// step moves the machine and checks how many requests it has sent and which calls
// it has made since the last step.
func (b *bench) step(requests int, calls ...callKind) {
	b.t.Helper()
	b.requests, b.calls = nil, nil
	b.m.step(b.now)
	if len(b.requests) != requests || !slices.Equal(b.calls, calls) {
		b.t.Fatalf("%d requests and the calls %v, want %d and %v", len(b.requests), b.calls, requests, calls)
	}
}

func (b *bench) answer(r *request, code sarama.KError) {
	for range r.batches {
		r.results = append(r.results, result{code: code, leader: -1})
	}
	b.m.produced(r, b.now)
}

func (b *bench) called() { b.m.called(b.m.calls[0], answer{}, nil, b.now) }

// A broker asks the coordinator about one thing at a time for a transactional id:
// positions that arrive while it verifies a partition make it refuse the batch.
func TestPositionsWaitForVerification(t *testing.T) {
	b := newBench(t, Config{TransactionalID: "tx"}, 2)
	if err := b.m.begin(); err != nil {
		t.Fatal(err)
	}
	b.send(0)
	b.step(0, callAdd)
	b.called()
	b.step(1)
	first := b.requests[0]
	b.m.sendOffsets([]pipeline.Offset{{}}, pipeline.GroupMetadata{Group: "g"}, b.now.Add(time.Minute), b.now, func(error) {})
	b.step(0, callOffsets)
	b.called()
	b.step(0) // the batch is not acknowledged

	b.send(1) // and this partition is not even part of the transaction, which is behind the positions in the queue
	b.step(0, callAdd)
	b.called()
	b.step(1)
	second := b.requests[0]
	b.answer(first, sarama.ErrNoError)
	b.step(0)
	b.answer(second, sarama.ErrNoError)
	b.step(0, callCommit)

	b.send(0) // verified: may go beside the positions
	b.step(1)
	b.called()
}

func TestABatchWaitsForPositions(t *testing.T) {
	b := newBench(t, Config{TransactionalID: "tx"}, 1)
	if err := b.m.begin(); err != nil {
		t.Fatal(err)
	}
	b.m.sendOffsets([]pipeline.Offset{{}}, pipeline.GroupMetadata{Group: "g"}, b.now.Add(time.Minute), b.now, func(error) {})
	b.step(0, callOffsets)
	b.called()
	b.step(0, callCommit)
	b.m.parts[0].inTxn = true
	b.send(0)
	b.step(0) // not verified
	b.called()
	b.step(1)
}

// Pauses double, give or take 20 %, up to the longest, and are not all the same.
func TestBackoffDoubles(t *testing.T) {
	b := newBench(t, Config{}, 1)
	for fails, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		want *= time.Millisecond
		seen := map[time.Duration]bool{}
		for range 50 {
			d := b.m.backoff(fails)
			if d < want*8/10 || d > want*12/10 {
				t.Errorf("after %d failures it is %v, want %v give or take 20 %%", fails, d, want)
			}
			seen[d] = true
		}
		if len(seen) < 10 {
			t.Errorf("after %d failures there are only %d pauses", fails, len(seen))
		}
	}
}

// Five batches that fail together are one failure, and wait for one backoff.
func TestABackoffForAFailure(t *testing.T) {
	b := newBench(t, Config{}, 1)
	pt := b.m.parts[0]
	b.send(0)
	b.step(1)
	b.answer(b.requests[0], sarama.ErrNoError) // the first of an epoch goes alone
	for range 5 {
		b.send(0)
	}
	b.step(5)
	for i, r := range slices.Clone(b.requests) {
		b.answer(r, []sarama.KError{sarama.ErrNotEnoughReplicas, sarama.ErrOutOfOrderSequenceNumber}[min(i, 1)])
	}
	if wait := pt.notBefore.Sub(b.now); pt.fails != 1 || wait > 120*time.Millisecond {
		t.Errorf("%d failures, a pause of %v", pt.fails, wait)
	}
	b.now = pt.notBefore
	b.step(1) // the head, alone
	b.answer(b.requests[0], sarama.ErrNotEnoughReplicas)
	if wait := pt.notBefore.Sub(b.now); pt.fails != 2 || wait < 160*time.Millisecond {
		t.Errorf("the head failed again: %d failures, a pause of %v", pt.fails, wait)
	}
}

// A batch that could not leave anyway stays open, however long it has lingered and
// whoever flushes.
func TestABatchFillsUpWhileItHasToWait(t *testing.T) {
	b := newBench(t, Config{BatchSize: 10_000}, 1)
	b.send(0)
	b.step(1)
	first := b.requests[0] // nothing may follow it before its answer
	b.m.acc.rounds.end()
	for range 50 {
		b.send(0)
		b.step(0)
	}
	b.answer(first, sarama.ErrNoError)
	b.step(1)
	if n := b.requests[0].batches[0].count(); n != 50 {
		t.Errorf("the next batch has %d records, want all 50 that came meanwhile", n)
	}
}

// A topic that has grown is written to in its new partitions; the others go on.
func TestAPartitionIsAdded(t *testing.T) {
	b := newBench(t, Config{}, 1)
	b.send(0)
	b.step(1)
	b.m.viewed(&view{brokers: map[int32]string{1: "one"}, topics: map[string]topicView{
		"t": {parts: []partView{{id: 0, leader: 1}, {id: 1, leader: 1}}},
	}}, nil, b.now)
	if n := len(b.m.acc.partitions("t")); n != 2 || b.m.acc.partitions("t")[0].flying != 1 {
		t.Fatalf("%d partitions", n)
	}
	b.send(1)
	b.step(1)
}

// A broker that is said to be elsewhere is spoken to there; what is under way at the
// old address still comes back.
func TestABrokerMoves(t *testing.T) {
	b := newBench(t, Config{}, 2)
	b.send(0)
	b.step(1)
	old := b.requests[0]
	b.m.viewed(&view{brokers: map[int32]string{1: "two"}, topics: map[string]topicView{}}, nil, b.now)
	b.send(1)
	b.step(1)
	if now := b.requests[0].node; now == old.node || now.addr != "two" || old.node.addr != "one" {
		t.Errorf("sent to %q, before to %q", now.addr, old.node.addr)
	}
	b.answer(old, sarama.ErrNoError)
	b.step(0)
	if b.m.stats.recordsAcked.Load() != 1 {
		t.Error("the answer from the old address was lost")
	}
}
