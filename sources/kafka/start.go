package kafkasource

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// pinStart commits the positions at which to begin in partitions without one, if
// that is not simply the beginning. Without it, a worker that starts at the
// latest record and is restarted before its first commit would skip what came
// meanwhile.
func (s *Source) pinStart(ctx context.Context) error {
	if s.cfg.Start == Earliest {
		return nil
	}
	have, err := s.client.Committed(ctx, s.cfg.Group, s.parts)
	if err != nil {
		return err
	}
	var missing []pipeline.Offset
	for _, p := range s.parts {
		if _, ok := have[p]; ok {
			continue
		}
		off, err := s.client.Offset(ctx, p, s.cfg.Start.offset())
		if err != nil {
			return err
		}
		missing = append(missing, pipeline.Offset{Partition: p, Next: off})
	}
	if len(missing) == 0 {
		return nil
	}
	err = s.client.Commit(ctx, pipeline.GroupMetadata{Group: s.cfg.Group, Generation: -1}, missing)
	if err == nil {
		return nil
	}
	// The broker refuses while the group has members. They have pinned the
	// positions then.
	if have, again := s.client.Committed(ctx, s.cfg.Group, s.parts); again == nil && len(have) == len(s.parts) {
		return nil
	}
	return fmt.Errorf("group %q: cannot set where to start: %w", s.cfg.Group, err)
}

// offset is what ListOffsets is asked for.
func (s Start) offset() int64 {
	switch {
	case s.latest:
		return cluster.Latest
	case !s.at.IsZero():
		return s.at.UnixMilli()
	default:
		return cluster.Earliest
	}
}
