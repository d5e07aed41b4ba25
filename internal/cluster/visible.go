package cluster

import (
	"context"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// Visible reports whether a read_committed reader at offset from would still be
// given a record before offset to. Control records, records of aborted
// transactions and what compaction removed take up offsets too: a reader whose
// last record is 7 may be done although the end is 9, and sarama's consumers do
// not show it.
func (c *Client) Visible(ctx context.Context, part pipeline.Partition, from, to int64) (bool, error) {
	return atLeader(ctx, c, part, func(b *sarama.Broker) (bool, error) {
		at, maxBytes := from, int32(1<<20)
		for at < to {
			block, err := fetch(b, part, at, maxBytes)
			if err != nil {
				return false, err
			}
			visible, next := scan(block, at, to)
			switch {
			case visible:
				return true, nil
			case next > at:
				at = next
			case block.Partial: // not even one batch fitted
				maxBytes *= 2
			default: // batches that compaction has emptied: sarama does not say how far they reach
				at++
			}
		}
		return false, nil
	})
}

func fetch(b *sarama.Broker, part pipeline.Partition, at int64, maxBytes int32) (*sarama.FetchResponseBlock, error) {
	req := &sarama.FetchRequest{Version: 11, MaxWaitTime: 1, MinBytes: 1, MaxBytes: maxBytes, Isolation: sarama.ReadCommitted, SessionEpoch: -1}
	req.AddBlock(part.Topic, part.Partition, at, maxBytes, -1)
	return fetchBlock(b, req, part)
}

func fetchBlock(b *sarama.Broker, req *sarama.FetchRequest, part pipeline.Partition) (*sarama.FetchResponseBlock, error) {
	resp, err := b.Fetch(req)
	if err != nil {
		return nil, err
	}
	block := resp.GetBlock(part.Topic, part.Partition)
	switch {
	case block == nil:
		return nil, errNoAnswer
	case block.Err != sarama.ErrNoError:
		return nil, block.Err
	}
	return block, nil
}

// scan looks for a visible record in a block, in [from, to), and returns the
// offset after the last batch.
func scan(block *sarama.FetchResponseBlock, from, to int64) (visible bool, next int64) {
	batches, next := Committed(block)
	for _, batch := range batches {
		for _, r := range batch.Records {
			if o := batch.FirstOffset + r.OffsetDelta; o >= from && o < to {
				return true, next
			}
		}
	}
	return false, next
}
