//go:build unix

package scenario

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/proxy"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// ofBrokers are the scenarios in which a broker dies while it does something that
// matters.
var ofBrokers = []Scenario{
	{
		Name: "kill-txn-coordinator", About: "kill -9 of the broker that coordinates a worker's transactions, while it ends one",
		Play: func(ctx context.Context, r *Run) error {
			name := r.Any()
			return r.killDuring(ctx, name, kmsg.EndTxn, func() (int32, error) { return r.Cluster.TxnCoordinator(ctx, r.TransactionalID(name)) })
		},
	},
	{
		Name: "kill-group-coordinator", About: "kill -9 of the broker that coordinates the group, while it is sent positions",
		Play: func(ctx context.Context, r *Run) error {
			return r.killDuring(ctx, r.Any(), kmsg.TxnOffsetCommit, func() (int32, error) { return r.Cluster.GroupCoordinator(ctx, r.group) })
		},
	},
	{
		Name: "kill-leader", About: "kill -9 of a leader, while records are being written to it",
		Play: func(ctx context.Context, r *Run) error {
			partition := int32(r.Rand.IntN(OutputPartitions))
			return r.killDuring(ctx, r.Any(), kmsg.Produce, func() (int32, error) {
				return r.Cluster.Leader(ctx, r.topics.Outputs[workload.Left], partition)
			})
		},
	},
}

// killDuring kills a broker while it has requests of a kind from a worker, and starts it
// again when the workers have gone on without it.
func (r *Run) killDuring(ctx context.Context, worker string, kind kmsg.Key, victim func() (int32, error)) error {
	for i := range 2 {
		if err := r.Written(ctx, 0.15+0.35*float64(i)); err != nil {
			return err
		}
		node, err := victim()
		if err != nil {
			return err
		}
		hold := r.Cluster.Proxy().Hold(proxy.Match{APIKeys: []kmsg.Key{kind}, Brokers: []int32{node}, ClientID: r.ClientID(worker), Count: 1})
		if err := hold.Wait(ctx, 1); err != nil {
			return err
		}
		healed := r.Fault(fmt.Sprintf("kill -9 of broker %d during %s", node, kind.Name()))
		r.MustReach(fmt.Sprintf("%s held when its broker was killed, number %d", kind.Name(), i+1), 1, hold.Hits)
		// The broker has it, and dies of it; or it never comes to it.
		if r.Rand.IntN(2) == 0 {
			r.watching.Go(func() { _, _ = hold.Release(ctx) }) // its client asks again
		}
		if err := r.Cluster.Kill(node); err != nil {
			return err
		}
		hold.Remove()
		if err := r.Progress(ctx); err != nil {
			return fmt.Errorf("without broker %d: %w", node, err)
		}
		if err := r.Cluster.Restart(ctx, node); err != nil {
			return err
		}
		if err := r.Healing(ctx, healed); err != nil {
			return err
		}
	}
	return nil
}
