package kafkasource

import (
	"context"
	"maps"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// runUntilEnd runs until the group has committed everything that was there when
// this worker started.
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
			done, err := s.reached(ctx, committed, idle)
			if err == nil && done {
				return nil
			}
		}
		if cluster := err; cluster != nil && ctx.Err() == nil {
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
