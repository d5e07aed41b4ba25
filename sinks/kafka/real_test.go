//go:build real

package kafka_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// realCluster has fresh topics and a fresh group on the real broker.
func realCluster(t *testing.T) (c *cluster, brokers []string, id string) {
	t.Helper()
	env := os.Getenv("LEAT_TEST_BROKERS")
	if env == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real sets it")
	}
	brokers = strings.Split(env, ",")
	id = "test-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c = &cluster{Client: checktest.Dial(t, brokers), t: t}
	c.CreateTopic(id+"-in", 4, nil)
	c.CreateTopic(id+"-out", 4, nil)
	return c, brokers, id
}

// The embedded cluster ends transactions at once; this one takes its time.
func TestRealCooperativeRevokeMovesAPartitionWhole(t *testing.T) {
	c, brokers, id := realCluster(t)
	source := kafkasource.Config{Brokers: brokers, Group: id, SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond, Logger: silent}
	cfg := kafka.Config{Brokers: brokers, Group: id, CommitInterval: 20 * time.Millisecond, Logger: silent}
	exerciseRevokes(t, c, source, cfg, copyTo("copy", id+"-in", id+"-out"), 60_000, 6*time.Second)
}

// The broker checks member and generation of positions that are committed in a
// transaction, provided that it is told: whoever has lost its membership cannot
// commit. (With the group's name alone anyone can.)
func TestRealPositionsOfAStrangerAreRefused(t *testing.T) {
	c, brokers, id := realCluster(t)
	in, out := id+"-in", id+"-out"
	o := newOwnership()
	source := kafkasource.Config{Brokers: brokers, Group: id, SessionTimeout: 6 * time.Second, Logger: silent}
	cfg := kafka.Config{Brokers: brokers, Group: id, CommitInterval: 20 * time.Millisecond, Logger: silent}
	live := background(t, o.worker("live", cfg, source, copyTo("copy", in, out)))
	c.Prefill(in, 1000)
	c.Await("the records", func() bool { return c.positions(id, in) == 1000 })
	o.check(t)
	o.mu.Lock()
	member := o.metadata[len(o.metadata)-1]
	o.mu.Unlock()

	stranger := kafka.NewSink(kafka.Config{Brokers: brokers, Group: id, Logger: silent})
	p := pipeline.New("stranger")
	pipeline.To(pipeline.From(p, in, serde.Bytes()), out, serde.Bytes())
	_, err := stranger.Open(t.Context(), pipeline.Spec{Pipeline: "stranger", Inputs: p.Inputs(), Outputs: p.Outputs()})
	noError(t, err, "open")
	t.Cleanup(func() { _ = stranger.Close() })
	noError(t, stranger.Init(t.Context()), "init")
	commit := func(as pipeline.GroupMetadata) error {
		t.Helper()
		ctx := context.Background()
		noError(t, stranger.Begin(ctx), "begin")
		err := stranger.SendOffsets(ctx, []pipeline.Offset{{Partition: pipeline.Partition{Topic: in}, Next: 1}}, as)
		if err == nil {
			err = stranger.Commit(ctx)
		}
		if err != nil {
			noError(t, stranger.Abort(ctx), "abort")
		}
		return err
	}
	before := c.positions(id, in)
	for name, as := range map[string]pipeline.GroupMetadata{
		"an earlier generation": {Group: id, Member: member.Member, Generation: member.Generation - 1},
		"a later generation":    {Group: id, Member: member.Member, Generation: member.Generation + 1},
		"another member":        {Group: id, Member: "nobody", Generation: member.Generation},
	} {
		if err := commit(as); !errors.Is(err, pipeline.ErrRebalanced) {
			t.Errorf("positions committed by %s: %v, want ErrRebalanced", name, err)
		}
	}
	if after := c.positions(id, in); after != before {
		t.Errorf("the positions went from %d to %d", before, after)
	}
	live.stop()
	if err := c.Compare(in, out, 1000).Exact(); err != nil {
		t.Error(err)
	}
}

// A static member that is killed after it gave partitions up, and before it said so
// by joining again, comes back without a rebalance: nobody would ever own them.
func TestRealPartitionsWithoutAnOwnerAreFound(t *testing.T) {
	c, brokers, id := realCluster(t)
	const n = 4_000
	c.Prefill(id+"-in", n)
	c.JoinAndDie(id, "a", id+"-in", 0, 1)
	noError(t, run(t, copyTo("copy", id+"-in", id+"-out"), kafka.Config{
		Brokers: brokers, Group: id, Instance: "a", CommitInterval: 20 * time.Millisecond, UntilEnd: true, Logger: silent,
		SessionTimeout: 30 * time.Second, HeartbeatInterval: 500 * time.Millisecond,
	}), "run")
	if err := c.Compare(id+"-in", id+"-out", n).Exact(); err != nil {
		t.Error(err)
	}
}

// A record that the broker refuses among many that it takes.
func TestRealTooLargeForTheBroker(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-small", 1, map[string]string{"max.message.bytes": "4000"})
	c.CreateTopic(id+"-dlq", 1, nil)
	const n = 4_000
	c.Prefill(id+"-in", n)
	big := large("big", 8000)
	big.Topic = id + "-in"
	c.Produce(big)
	for _, g := range bothGuarantees {
		p := pipeline.New("p", pipeline.DeadLetter(id+"-dlq"))
		pipeline.To(pipeline.From(p, id+"-in", serde.Bytes()), id+"-small", serde.Bytes())
		began := time.Now()
		noError(t, run(t, p, kafka.Config{Brokers: brokers, Group: id + g.String(), Delivery: g, UntilEnd: true, Logger: silent}), "run")
		t.Logf("%v took %v", g, time.Since(began))
		got := len(unique(keys(c.ReadAll(id + "-small"))))
		if got != n {
			t.Errorf("%v: %d records came out, want %d", g, got, n)
		}
		same(t, "dead letters", unique(keys(c.ReadAll(id+"-dlq"))), []string{"big"})
	}
}
