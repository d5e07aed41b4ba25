package kafkasource

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

// statePoll is how long a broker may wait for more of a state that stands still.
const statePoll = 500 * time.Millisecond

// ReadState reads one partition of a state topic up to the high watermark as of now. What
// is open below it is waited for: a read_committed reader is given nothing behind it.
// Brokers that do not answer are asked again until ctx ends.
func (s *Source) ReadState(ctx context.Context, p pipeline.Partition, apply func(*pipeline.Raw) error, moved func(next, end int64)) error {
	r := stateReader{client: s.client, part: p, moved: moved}
	r.apply = func(rec *pipeline.Raw) error {
		r.failure = apply(rec)
		return r.failure
	}
	for try := 0; ; try++ {
		before := r.at
		err := r.read(ctx)
		switch {
		case err == nil:
			return nil
		case r.failure != nil:
			return r.failure
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case cluster.IsAuth(err), errors.Is(err, sarama.ErrOffsetOutOfRange):
			return err
		}
		if err := s.client.Gone(ctx, []string{p.Topic}); err != nil {
			return err
		}
		if r.at > before {
			try = 0
		}
		s.cfg.Logger.Warn("state not read, trying again", "partition", p, "offset", r.at, "error", err)
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// stateReader is how far a state is read, over errors that pass.
type stateReader struct {
	client  *cluster.Client
	part    pipeline.Partition
	apply   func(*pipeline.Raw) error
	moved   func(next, end int64)
	failure error // of apply

	bounded bool // at and end are known
	at, end int64
	space   headerSpace
}

func (r *stateReader) read(ctx context.Context) error {
	if !r.bounded {
		at, err := r.client.OffsetFor(ctx, r.part, cluster.Earliest, sarama.ReadUncommitted)
		if err != nil {
			return secure.Needs(err, secure.Read)
		}
		end, err := r.client.End(ctx, r.part)
		if err != nil {
			return secure.Needs(err, secure.Read)
		}
		r.bounded, r.at, r.end = true, at, end
		r.moved(at, end)
	}
	reader := r.client.Reader(map[pipeline.Partition]int64{r.part: r.at}, sarama.ReadCommitted)
	for r.at < r.end {
		reads, err := reader.Next(ctx, statePoll)
		if err != nil {
			return err
		}
		for _, got := range reads {
			if err := applyState(chunk{batches: got.Batches, from: got.From}, r.part, r.apply, &r.space); err != nil {
				return err
			}
			r.at = got.Next
			r.moved(r.at, r.end)
		}
	}
	return nil
}

func applyState(c chunk, p pipeline.Partition, apply func(*pipeline.Raw) error, space *headerSpace) error {
	b := &pipeline.Batch{}
	for more := true; more; {
		b.Records, b.Bytes = b.Records[:0], 0
		more = c.fill(b, p, space)
		for i := range b.Records {
			if err := apply(&b.Records[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
