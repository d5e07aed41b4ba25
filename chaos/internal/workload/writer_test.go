package workload

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestWriterUsesNewPartitions when it is told of them, while it writes, and writes
// every input nevertheless.
func TestWriterUsesNewPartitions(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	grown := func() int64 { // what is in the new partitions
		ends, err := admin.ListEndOffsets(ctx, "in")
		if err != nil {
			return 0
		}
		n := int64(0)
		for p := int32(3); p < 5; p++ {
			if o, ok := ends.Lookup("in", p); ok && o.Err == nil {
				n += o.Offset
			}
		}
		return n
	}

	more := make(chan struct{}) // closed: it is enough
	w := &Writer{Brokers: cluster.ListenAddrs(), Topic: "in", Generator: Generator{Seed: 1, Partitions: 3, Keys: 15, MaxFiller: 50}, Rate: 2000}
	w.More = func() bool {
		select {
		case <-more:
			return false
		default:
			return true
		}
	}
	written := make(chan error, 1)
	go func() { written <- w.Write(ctx, 0, 100) }()
	await(t, ctx, func() bool { return w.Written() >= 100 })
	if resp, err := admin.UpdatePartitions(ctx, 5, "in"); err != nil || resp.Error() != nil {
		t.Fatal(err, resp.Error())
	}
	w.Grow(5)
	await(t, ctx, func() bool { return grown() > 10 })
	close(more)
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	ends, err := admin.ListEndOffsets(ctx, "in")
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) {
		total += o.Offset
		if o.Offset == 0 {
			t.Errorf("nothing in partition %d", o.Partition)
		}
	})
	if total != w.Written() {
		t.Errorf("%d of %d", total, w.Written())
	}
}

// await polls a condition.
func await(t *testing.T, ctx context.Context, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("waited in vain")
		}
	}
}
