package history

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/internal/checktest"
)

// TestNewPartitionsAreNoticed by those that have been at work for a while: what is
// written to them before they are is read as well.
func TestNewPartitionsAreNoticed(t *testing.T) {
	c := newCluster(t)
	r, err := StartRecorder(Config{Brokers: c.embedded.Brokers(), Topics: c.topics, Group: "g", TransactionalIDs: "chaos-h", Every: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c.begin(c.output("a"))
	c.end(true)
	if err := r.live[0].Await(within(t), Ends{workload.Left: {0, 2}}); err != nil {
		t.Fatal(err)
	}
	checktest.Await(t, "a sample", 10*time.Second, func() bool { return len(r.Watch().Samples()) > 0 })

	c.grow(c.topics.Outputs[workload.Left], 4)
	c.grow(c.topics.Input, 5)
	// This client is younger than the partitions.
	young, err := kgo.NewClient(kgo.SeedBrokers(c.embedded.Brokers()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer young.Close()
	for _, value := range []string{"b", "c"} {
		out := c.output(value)
		out.Partition = 3
		if err := young.ProduceSync(t.Context(), out, &kgo.Record{Topic: c.topics.Input, Partition: 4}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}

	committed := kadm.Offsets{}
	committed.AddOffset(c.topics.Input, 4, 2, -1)
	if err := kadm.NewClient(young).CommitAllOffsets(t.Context(), "g", committed); err != nil {
		t.Fatal(err)
	}
	if err := r.live[0].Await(within(t), Ends{workload.Left: {3: 2}}); err != nil {
		t.Fatal(err)
	}
	checktest.Await(t, "a sample of the new partitions", 10*time.Second, func() bool {
		return contains(r.Watch().Samples(), func(s Sample) bool { return len(s.Input) == 5 && s.Input[4] == 2 && s.High.At(workload.Left, 3) == 2 })
	})
	if err := r.Watch().AwaitCommitted(within(t), []int64{0, 0, 0, 0, 2}); err != nil {
		t.Error(err)
	}
	h, err := r.Finish(within(t), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for _, log := range append(h.Live, h.Reread) {
		if all := log.Records[workload.Left]; len(all) != 4 || len(all[3]) != 2 || all[3][0].Offset != 0 {
			t.Errorf("%s has %+v", log.Name, all)
		}
	}
	n := 0
	if ends, err := ReadInput(within(t), c.embedded.Brokers(), c.topics.Input, func(*kgo.Record) { n++ }); err != nil || len(ends) != 5 || n != 2 {
		t.Errorf("of the input: %d up to %v, %v", n, ends, err)
	}
}

// grow adds partitions to a topic.
func (c *cluster) grow(topic string, to int) {
	c.t.Helper()
	resp, err := kadm.NewClient(c.producer).UpdatePartitions(c.t.Context(), to, topic)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// TestAwaitCommittedNeedsNoPositionWithoutRecords, of new partitions least of all.
func TestAwaitCommittedNeedsNoPositionWithoutRecords(t *testing.T) {
	for _, c := range []struct {
		at, ends []int64
		want     bool
	}{
		{nil, nil, true}, {nil, []int64{0, 0}, true}, {[]int64{3}, []int64{3, 0}, true}, {[]int64{3, Unknown}, []int64{3, 0}, true},
		{[]int64{2}, []int64{3, 0}, false}, {[]int64{3}, []int64{3, 1}, false}, {[]int64{3, Unknown}, []int64{3, 1}, false}, {nil, []int64{1}, false},
	} {
		w := &Watch{cfg: WatchConfig{Every: time.Millisecond}, samples: []Sample{{Committed: c.at}}}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if err := w.AwaitCommitted(ctx, c.ends); (err == nil) != c.want {
			t.Errorf("%v of %v: %v", c.at, c.ends, err)
		}
		cancel()
	}
}
