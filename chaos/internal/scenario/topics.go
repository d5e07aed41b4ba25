//go:build unix

package scenario

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Topics are those of the workload.
func (r *Run) Topics() workload.Topics { return r.topics }

// Group is the workers' consumer group.
func (r *Run) Group() string { return r.group }

// GrowInput adds partitions to the input, has the writer use them, and returns when
// something of each is committed.
func (r *Run) GrowInput(ctx context.Context, total int32) error {
	if err := r.Cluster.AddPartitions(ctx, r.topics.Input, total); err != nil {
		return err
	}
	r.writer.Grow(total)
	return r.Await(ctx, fmt.Sprintf("commits in %d input partitions", total), func() bool {
		all := r.recorder.Watch().Samples()
		if len(all) == 0 {
			return false
		}
		committed := all[len(all)-1].Committed
		for p := range int(total) {
			if p >= len(committed) || committed[p] <= 0 {
				return false
			}
		}
		return true
	})
}

// GrowOutput adds partitions to an output, known by its number. Keys may move then.
func (r *Run) GrowOutput(ctx context.Context, topic int, total int32) error {
	r.mu.Lock()
	if r.growths[topic] == nil {
		r.growths[topic] = []int32{OutputPartitions}
	}
	r.growths[topic] = append(r.growths[topic], total)
	r.mu.Unlock()
	return r.Cluster.AddPartitions(ctx, r.topics.Outputs[topic], total)
}
