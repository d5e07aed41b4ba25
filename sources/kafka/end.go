package kafkasource

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// runUntilEnd runs until the group has committed everything that was there when
// this worker started, and what the pipeline has made of it for its own inputs.
func (s *Source) runUntilEnd(ctx context.Context, w *pipeline.Worker) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan error, 1)
	go func() {
		watched <- s.awaitEnd(ctx)
		stop()
	}()
	err := s.run(ctx, w)
	stop()
	if werr := <-watched; err == nil && werr != nil {
		err = werr
	}
	return err
}

const endPoll = 100 * time.Millisecond

// awaitEnd returns nil when the committed positions have reached the ends, or when
// ctx ends.
func (s *Source) awaitEnd(ctx context.Context) error {
	before := map[pipeline.Partition]int64{}
	t := time.NewTicker(endPoll)
	defer t.Stop()
	for {
		committed, err := s.client.Committed(ctx, s.cfg.Group, s.parts)
		if err == nil {
			idle := maps.Equal(committed, before)
			before = committed
			var done, further bool
			if done, err = s.reached(ctx, committed, idle); done && err == nil {
				further, err = s.further(ctx)
			}
			if err == nil && done && !further {
				return nil
			}
		}
		if err != nil && ctx.Err() == nil {
			s.cfg.Logger.Debug("waiting for the end", "group", s.cfg.Group, "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// reached reports whether nothing is left before the ends. Offsets that no reader
// is ever given count as passed; looking for them costs a fetch, so it is done
// only while nothing moves.
func (s *Source) reached(ctx context.Context, committed map[pipeline.Partition]int64, idle bool) (bool, error) {
	for _, part := range s.parts {
		end, at := s.ends[part], committed[part]
		if at >= end {
			continue
		}
		if !idle {
			return false, nil
		}
		if _, ok := committed[part]; !ok {
			first, err := s.client.Offset(ctx, part, -2)
			if err != nil {
				return false, err
			}
			at = first
		}
		if at >= end {
			continue
		}
		visible, err := s.client.Visible(ctx, part, at, end)
		if visible || err != nil {
			return false, err
		}
		s.ends[part] = at // passed, once for all
	}
	return true, nil
}

// further takes the ends of inputs that the pipeline itself writes, its retry topics above all, anew:
// what was written to them belongs to what was there at the start. It reports whether there is
// more to wait for. A record goes through each of these topics at most once, so they are looked
// at so often, and what comes all the time is not waited for.
func (s *Source) further(ctx context.Context) (bool, error) {
	own := slices.DeleteFunc(slices.Clone(s.spec.Inputs), func(topic string) bool { return !slices.Contains(s.spec.Outputs, topic) })
	if s.rounds >= len(own) {
		return false, nil
	}
	if s.next == nil {
		ends, err := s.client.WrittenEnds(ctx, own)
		if err != nil {
			return false, err
		}
		s.next = ends
	}
	// A commit may have been seen in the group's positions and not in a topic yet: what was
	// written counts, once it is decided.
	stable, err := s.client.Offsets(ctx, own, cluster.Latest)
	if err != nil {
		return false, err
	}
	for part, end := range s.next {
		if stable[part] < end {
			return true, nil
		}
	}
	moved := false
	for part, end := range s.next {
		if end > s.seen[part] {
			s.seen[part], s.ends[part], moved = end, end, true
		}
	}
	s.next = nil
	s.rounds++
	return moved, nil
}
