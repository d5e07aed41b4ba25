//go:build unix

package soak

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/scenario"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// grown is how many partitions the topics get that grow.
const (
	grownInput  = scenario.InputPartitions + 3
	grownOutput = scenario.OutputPartitions + 2
)

var topicKinds = []kind{
	{
		name: "input-grows", about: "the input gets three partitions more", of: ofTopics, rounds: 1,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("the input grows to %d partitions", grownInput)()
			return s.GrowInput(ctx, grownInput)
		},
	},
	{
		name: "output-grows", about: "an output gets two partitions more, and keys move", of: ofTopics, rounds: 1,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("an output grows to %d partitions", grownOutput)()
			return s.GrowOutput(ctx, workload.Left, grownOutput)
		},
	},
	{
		name: "no-right-to-topic", about: "the right to write to an output is withdrawn, and given back", of: ofTopics,
		do: func(ctx context.Context, s *strike) error {
			return s.deny(ctx, kmsg.ACLResourceTypeTopic, s.Topics().Outputs[s.between(workload.Left, workload.Right)], kmsg.ACLOperationWrite)
		},
	},
	{
		name: "no-right-to-group", about: "the right to the group is withdrawn, and given back", of: ofTopics,
		do: func(ctx context.Context, s *strike) error {
			return s.deny(ctx, kmsg.ACLResourceTypeGroup, s.Group(), kmsg.ACLOperationRead)
		},
	},
	{
		name: "no-right-to-id", about: "the right to a worker's transactional id is withdrawn, and given back", of: ofTopics,
		do: func(ctx context.Context, s *strike) error {
			id := s.TransactionalID(workers[s.rand.IntN(len(workers))])
			return s.deny(ctx, kmsg.ACLResourceTypeTransactionalId, id, kmsg.ACLOperationWrite)
		},
	},
}

// deny withdraws a right until it is missed, and for some seconds. Workers may end over
// it, in words; then they are started anew.
func (s *strike) deny(ctx context.Context, resource kmsg.ACLResourceType, name string, op kmsg.ACLOperation) error {
	defer s.allWorkers()()
	defer s.breaks("no right to %v of %v %s", op, resource, name)()
	for _, w := range workers {
		s.MayFail(w)
	}
	before := s.troubles()
	restore, err := s.Cluster.Deny(ctx, resource, name, op)
	if err != nil {
		return err
	}
	err = s.within(ctx, time.Minute, func(ctx context.Context) error {
		return s.Await(ctx, "a worker to miss a right", func() bool { return s.troubles() > before })
	})
	if err == nil {
		err = s.Last(ctx, s.seconds(1, 15))
	}
	if err := errors.Join(err, restore(ctx)); err != nil {
		return err
	}
	return s.revive(ctx)
}

// troubles counts the workers that have ended, and the transactions of the others that
// were aborted.
func (s *strike) troubles() (n int64) {
	for _, w := range workers {
		n += s.Aborts(w)
		if !s.Running(w) {
			n++
		}
	}
	return n
}
