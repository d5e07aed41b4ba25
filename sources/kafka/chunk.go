package kafkasource

import (
	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// chunk is what one fetch brought of a partition: whole batches, whose records a
// reader of committed ones may have.
type chunk struct {
	batches []*sarama.RecordBatch
	from    int64 // the first batch may begin before it
	bytes   int
	record  int // the next one, in the first batch
}

// chunkOf returns the records of a block from an offset on, and where to fetch
// next: -1 if the block holds not one whole batch.
func chunkOf(block *sarama.FetchResponseBlock, from int64) (c chunk, next int64) {
	c.from = from
	c.batches, next = cluster.Committed(block)
	for _, batch := range c.batches {
		for _, r := range batch.Records {
			c.bytes += len(r.Key) + len(r.Value)
			for _, h := range r.Headers {
				c.bytes += len(h.Key) + len(h.Value)
			}
		}
	}
	return c, next
}

// fill moves records into a batch until that is full, and reports whether any are
// left. The records' bytes are not copied.
func (c *chunk) fill(b *pipeline.Batch, part pipeline.Partition, space *headerSpace) (more bool) {
	for len(c.batches) > 0 {
		batch := c.batches[0]
		for c.record < len(batch.Records) {
			if b.Full() {
				return true
			}
			r := batch.Records[c.record]
			c.record++
			offset := batch.FirstOffset + r.OffsetDelta
			if offset < c.from {
				continue
			}
			add(b, batch, r, pipeline.Origin{Topic: part.Topic, Partition: part.Partition, Offset: offset}, space)
		}
		c.batches, c.record = c.batches[1:], 0
	}
	return false
}

func add(b *pipeline.Batch, batch *sarama.RecordBatch, r *sarama.Record, origin pipeline.Origin, space *headerSpace) {
	raw := pipeline.Raw{Key: r.Key, Value: r.Value, Timestamp: cluster.Timestamp(batch, r), Origin: origin}
	b.Bytes += len(r.Key) + len(r.Value)
	raw.Headers = space.of(r.Headers)
	for i := range raw.Headers {
		b.Bytes += len(raw.Headers[i].Key) + len(raw.Headers[i].Value)
	}
	b.Records = append(b.Records, raw)
}
