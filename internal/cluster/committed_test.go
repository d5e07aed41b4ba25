package cluster

import (
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// batchOf is a batch of n records from an offset on.
func batchOf(first int64, n int32, producer int64, change func(*sarama.RecordBatch)) *sarama.Records {
	b := &sarama.RecordBatch{FirstOffset: first, LastOffsetDelta: n - 1, ProducerID: producer, IsTransactional: producer > 0}
	for i := range n {
		b.Records = append(b.Records, &sarama.Record{OffsetDelta: int64(i), Value: fmt.Appendf(nil, "%d", first+int64(i))})
	}
	if change != nil {
		change(b)
	}
	return &sarama.Records{RecordBatch: b}
}

func marker(at, producer int64) *sarama.Records {
	return batchOf(at, 1, producer, func(b *sarama.RecordBatch) { b.Control = true })
}

func aborted(producer, first int64) *sarama.AbortedTransaction {
	return &sarama.AbortedTransaction{ProducerID: producer, FirstOffset: first}
}

func TestCommitted(t *testing.T) {
	const none = 0
	for name, tt := range map[string]struct {
		block *sarama.FetchResponseBlock
		want  string
		next  int64
	}{
		"nothing": {&sarama.FetchResponseBlock{}, "[]", -1},
		"without transactions": {
			&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{batchOf(4, 2, none, nil), batchOf(6, 1, none, nil)}},
			"[4 5 6]", 7,
		},
		"a marker at the end is passed": {
			&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{batchOf(0, 2, 1, nil), marker(2, 1)}},
			"[0 1]", 3,
		},
		"aborted, then committed by the same producer": {
			&sarama.FetchResponseBlock{
				AbortedTransactions: []*sarama.AbortedTransaction{aborted(1, 0)},
				RecordsSet:          []*sarama.Records{batchOf(0, 2, 1, nil), marker(2, 1), batchOf(3, 1, 1, nil), marker(4, 1)},
			},
			"[3]", 5,
		},
		"two producers, aborted out of order": {
			&sarama.FetchResponseBlock{
				AbortedTransactions: []*sarama.AbortedTransaction{aborted(2, 5), aborted(1, 0)},
				RecordsSet: []*sarama.Records{
					batchOf(0, 1, 1, nil), batchOf(1, 1, 2, nil), marker(2, 1), marker(3, 2), batchOf(4, 1, 1, nil),
					batchOf(5, 1, 2, nil), marker(6, 2), batchOf(7, 1, 2, nil),
				},
			},
			"[1 4 7]", 8,
		},
		"an abort that began before the block": {
			&sarama.FetchResponseBlock{
				AbortedTransactions: []*sarama.AbortedTransaction{aborted(1, 10)},
				RecordsSet:          []*sarama.Records{batchOf(100, 1, 1, nil), batchOf(101, 1, none, nil), marker(102, 1)},
			},
			"[101]", 103,
		},
		"the rest of a batch comes later": {
			&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{
				batchOf(0, 1, none, nil), batchOf(1, 9, none, func(b *sarama.RecordBatch) { b.Records, b.PartialTrailingRecord = nil, true }),
			}},
			"[0]", 1,
		},
		"what compaction left": {
			&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{
				batchOf(0, 9, none, func(b *sarama.RecordBatch) { b.Records = b.Records[3:4] }),
			}},
			"[3]", 9,
		},
		"old messages": {
			&sarama.FetchResponseBlock{RecordsSet: []*sarama.Records{{MsgSet: &sarama.MessageSet{Messages: []*sarama.MessageBlock{
				{Offset: 7, Msg: &sarama.Message{Value: []byte("7")}},
				{Offset: 9, Msg: &sarama.Message{Version: 1, Set: &sarama.MessageSet{Messages: []*sarama.MessageBlock{ // compressed: relative
					{Offset: 0, Msg: &sarama.Message{Version: 1, Value: []byte("8"), Timestamp: time.UnixMilli(5)}},
					{Offset: 1, Msg: &sarama.Message{Version: 1, Value: []byte("9"), Timestamp: time.UnixMilli(6)}},
				}}}},
			}}}}},
			"[7 8 9]", 10,
		},
	} {
		t.Run(name, func(t *testing.T) {
			batches, next := Committed(tt.block)
			got := []string{}
			for _, b := range batches {
				for _, r := range b.Records {
					if string(r.Value) != fmt.Sprint(b.FirstOffset+r.OffsetDelta) {
						t.Errorf("record %s has offset %d", r.Value, b.FirstOffset+r.OffsetDelta)
					}
					got = append(got, string(r.Value))
				}
			}
			if fmt.Sprint(got) != tt.want || next != tt.next {
				t.Errorf("%v, then %d; want %s, then %d", got, next, tt.want, tt.next)
			}
		})
	}
}
