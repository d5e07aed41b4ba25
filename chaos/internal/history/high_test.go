package history

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
)

// A broker that believes that it leads, and does not any more, says where the log ended
// when it did. The one that leads says more.
func TestStaleLeadersDoNotCount(t *testing.T) {
	topics := workload.NewTopics("stale")
	cfg := embedded.Config{Brokers: 2, Topics: []embedded.Topic{{Name: topics.Input, Partitions: 1}}}
	for _, name := range topics.Outputs {
		cfg.Topics = append(cfg.Topics, embedded.Topic{Name: name, Partitions: 4})
	}
	c, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fake := c.Fake()
	fake.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		node := fake.CurrentNode()
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range r.(*kmsg.ListOffsetsRequest).Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset = p.Partition, 5
				if node != fake.LeaderFor(t.Topic, p.Partition) {
					rp.Offset = 9 // it leads, but the metadata do not know
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	w, err := StartWatch(WatchConfig{Brokers: c.Brokers(), Topics: topics, Group: "g", TransactionalIDs: "chaos-h", Every: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	checktest.Await(t, "a sample of all ends", 10*time.Second, func() bool {
		return contains(w.Samples(), func(s Sample) bool {
			for topic := range topics.Outputs {
				for p := range 4 {
					if s.High.At(topic, p) != 9 {
						return false
					}
				}
			}
			return true
		})
	})
}
