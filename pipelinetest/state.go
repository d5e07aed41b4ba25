package pipelinetest

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
)

// ReadState reads one partition of a state topic up to its end as of now, waiting for
// the transactions that are open below it.
func (s *source) ReadState(ctx context.Context, p pipeline.Partition, apply func(*pipeline.Raw) error, moved func(next, end int64)) error {
	return s.c.step(ctx, s.w, Event{Step: StepRestore, Partition: p}, func() error {
		l := s.c.topic(p.Topic).partitions[p.Partition]
		s.c.mu.Lock()
		end := l.end()
		s.c.mu.Unlock()
		moved(0, end)
		for at := int64(0); ; {
			var next []pipeline.Raw
			here := s.c.await(func() bool {
				to := l.readCommitted(at, func(e *entry) bool {
					next = append(next, e.Raw)
					return true
				})
				progress := to > at || to >= end
				at = to
				return progress
			}, ctx.Done())
			if !here {
				return context.Cause(ctx)
			}
			for i := range next {
				if err := apply(&next[i]); err != nil {
					return err
				}
			}
			if moved(at, end); at >= end {
				return nil
			}
		}
	})
}
