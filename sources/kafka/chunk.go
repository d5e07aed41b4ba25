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
func (c *chunk) fill(b *pipeline.Batch, part pipeline.Partition, keys internTable) (more bool) {
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
			add(b, batch, r, pipeline.Origin{Topic: part.Topic, Partition: part.Partition, Offset: offset}, keys)
		}
		c.batches, c.record = c.batches[1:], 0
	}
	return false
}

func add(b *pipeline.Batch, batch *sarama.RecordBatch, r *sarama.Record, origin pipeline.Origin, keys internTable) {
	raw := pipeline.Raw{Key: r.Key, Value: r.Value, Timestamp: batch.FirstTimestamp.Add(r.TimestampDelta), Origin: origin}
	if batch.LogAppendTime {
		raw.Timestamp = batch.MaxTimestamp
	}
	b.Bytes += len(r.Key) + len(r.Value)
	if len(r.Headers) > 0 {
		raw.Headers = make(pipeline.Headers, len(r.Headers))
		for i, h := range r.Headers {
			raw.Headers[i] = pipeline.Header{Key: keys.string(h.Key), Value: h.Value}
			b.Bytes += len(h.Key) + len(h.Value)
		}
	}
	b.Records = append(b.Records, raw)
}

// internTable keeps header keys as strings: a topic has few of them.
type internTable map[string]string

const maxInterned = 256

func (t internTable) string(b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	if len(t) < maxInterned {
		t[s] = s
	}
	return s
}
