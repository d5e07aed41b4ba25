package kafkasource

import (
	"context"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Cooperative assignment takes two rounds: in the first, members give up what is
// to move and join again; in the second it is given to others. A static member
// that is killed between the two comes back under its name and is handed what was
// left to it, without a rebalance (KIP-345). The second round never takes place,
// and what the dead one had given up has no owner, for ever. And a leader that
// comes back this way does not know that it leads (before KIP-814), so that nobody
// notices partitions that are added to a topic.
//
// So a static member looks whether all partitions have an owner, soon and until
// they have, then now and then. If some have none, it ends its session: joining
// anew with other metadata than before makes the coordinator rebalance.

// orphanPoll is the time between looks once every partition has had an owner.
// Kafka's metadata.max.age.ms is as long.
const orphanPoll = 5 * time.Minute

// awaitOrphans reports true when partitions of the inputs have no owner, and
// false when ctx ends. A look that fails is taken again.
func (s *Source) awaitOrphans(ctx context.Context, h *handler) bool {
	// Between the two rounds partitions lack an owner, too. Members that are alive
	// come back within a heartbeat, unless they are slow in giving a partition up.
	soon := 2 * s.cfg.HeartbeatInterval
	var before []pipeline.Partition
	generation := int32(-1) // at the look before
	wait := soon
	t := time.NewTimer(wait)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
		}
		wait = soon
		if sess := h.current.Load(); sess != nil {
			now := sess.sess.GenerationID()
			orphans, stable, err := s.orphans(ctx)
			switch {
			case err != nil:
				s.cfg.Logger.Debug("looking for partitions without an owner", "group", s.cfg.Group, "error", err)
			case !stable:
				before = nil
			case len(orphans) == 0:
				before, wait = nil, orphanPoll
			case now == generation && slices.Equal(orphans, before):
				s.cfg.Logger.Warn("partitions have no owner, joining the group anew", "group", s.cfg.Group, "partitions", orphans)
				return true
			default:
				before = orphans
			}
			generation = now
		}
		t.Reset(wait)
	}
}

// orphans returns the partitions of the inputs that no member of the group owns.
// It is false during a rebalance.
func (s *Source) orphans(ctx context.Context) ([]pipeline.Partition, bool, error) {
	owned, stable, err := s.client.Owned(ctx, s.cfg.Group)
	if err != nil || !stable {
		return nil, false, err
	}
	counts, err := s.client.Partitions(ctx, s.spec.Inputs)
	if err != nil {
		return nil, false, err
	}
	var orphans []pipeline.Partition
	for topic, n := range counts {
		for p := range n {
			part := pipeline.Partition{Topic: topic, Partition: p}
			if !owned[part] {
				orphans = append(orphans, part)
			}
		}
	}
	slices.SortFunc(orphans, pipeline.Partition.Compare)
	return orphans, true, nil
}
