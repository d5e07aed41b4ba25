package kafkasource

import (
	"context"
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
func (s *Source) ReadState(ctx context.Context, p pipeline.Partition, apply func(*pipeline.Raw) error, moved func(next, end int64)) error {
	at, err := s.client.OffsetFor(ctx, p, cluster.Earliest, sarama.ReadUncommitted)
	if err != nil {
		return secure.Needs(err, secure.Read)
	}
	end, err := s.client.End(ctx, p)
	if err != nil {
		return secure.Needs(err, secure.Read)
	}
	moved(at, end)
	reader := s.client.Reader(map[pipeline.Partition]int64{p: at}, sarama.ReadCommitted)
	var space headerSpace
	for at < end {
		reads, err := reader.Next(ctx, statePoll)
		if err != nil {
			return err
		}
		for _, r := range reads {
			if err := applyState(chunk{batches: r.Batches, from: r.From}, p, apply, &space); err != nil {
				return err
			}
			at = r.Next
			moved(at, end)
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
