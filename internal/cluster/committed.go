package cluster

import (
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// Committed returns the batches of a fetched block that a read_committed reader is
// given, and the offset after the last batch that the block holds whole, or -1 if
// there is none. Control batches and those of aborted transactions are left out;
// Kafka's consumer does that, too, not the broker.
//
// Messages of the formats before transactions come as a batch that begins at
// offset 0.
func Committed(block *sarama.FetchResponseBlock) (batches []*sarama.RecordBatch, next int64) {
	next = -1
	aborted := slices.SortedFunc(slices.Values(block.AbortedTransactions), func(a, b *sarama.AbortedTransaction) int {
		return int(min(1, max(-1, a.FirstOffset-b.FirstOffset)))
	})
	aborting := map[int64]bool{} // producers within an aborted transaction
	for _, set := range block.RecordsSet {
		batch := set.RecordBatch
		if batch == nil {
			if batch, last := messages(set.MsgSet); batch != nil {
				batches, next = append(batches, batch), last+1
			}
			continue
		}
		if batch.PartialTrailingRecord { // the rest of it comes with the next fetch
			break
		}
		last := batch.LastOffset()
		for len(aborted) > 0 && aborted[0].FirstOffset <= last {
			aborting[aborted[0].ProducerID] = true
			aborted = aborted[1:]
		}
		next = last + 1
		switch {
		case batch.Control:
			delete(aborting, batch.ProducerID)
		case batch.IsTransactional && aborting[batch.ProducerID]:
		default:
			batches = append(batches, batch)
		}
	}
	return batches, next
}

// messages makes a batch of messages in the formats v0 and v1.
func messages(set *sarama.MessageSet) (batch *sarama.RecordBatch, last int64) {
	if set == nil {
		return nil, -1
	}
	batch = &sarama.RecordBatch{FirstTimestamp: time.UnixMilli(0)}
	for _, outer := range set.Messages {
		inner := outer.Messages()
		for _, m := range inner {
			offset, ts := m.Offset, m.Msg.Timestamp
			if m.Msg.Version >= 1 { // offsets within a compressed set are relative
				offset += outer.Offset - inner[len(inner)-1].Offset
				if m.Msg.LogAppendTime {
					ts = outer.Msg.Timestamp
				}
			}
			if ts.IsZero() { // v0 has none
				ts = time.UnixMilli(-1)
			}
			batch.Records = append(batch.Records, &sarama.Record{
				Key: m.Msg.Key, Value: m.Msg.Value, OffsetDelta: offset, TimestampDelta: ts.Sub(batch.FirstTimestamp),
			})
			last = offset
		}
	}
	if len(batch.Records) == 0 {
		return nil, -1
	}
	return batch, last
}
