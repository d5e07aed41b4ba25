package history

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// highPatience bounds what brokers are given that do not answer.
const highPatience = 500 * time.Millisecond

// raise asks every broker for the ends of the outputs, and takes the highest. One that is
// cut off from the others still believes that it leads, and the metadata may say so, too:
// it tells where its log ended then.
func (e *Ends) raise(ctx context.Context, client *kgo.Client, topics workload.Topics) {
	ctx, cancel := context.WithTimeout(ctx, highPatience)
	defer cancel()
	brokers := client.DiscoveredBrokers()
	// A request each, since the client writes into it; all of them before e may grow.
	requests := make([]*kmsg.ListOffsetsRequest, len(brokers))
	for i := range requests {
		requests[i] = e.request(topics)
	}
	var mu sync.Mutex
	var asking sync.WaitGroup
	for i, b := range brokers {
		asking.Go(func() {
			answer, err := b.Request(ctx, requests[i])
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for _, t := range answer.(*kmsg.ListOffsetsResponse).Topics {
				for _, p := range t.Partitions {
					if i := slices.Index(topics.Outputs[:], t.Topic); i >= 0 && p.ErrorCode == 0 {
						e.reach(i, p.Partition, p.Offset)
					}
				}
			}
		})
	}
	asking.Wait()
}

// request asks for the high watermarks of the partitions that are known.
func (e *Ends) request(topics workload.Topics) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	for i, name := range topics.Outputs {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = name
		for p := range e[i] {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = int32(p), -1
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	return req
}
