package main

import (
	"context"
	"iter"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// fetchWait is how long the brokers wait for new records.
const fetchWait = 500 * time.Millisecond

// readTo hands f what is fetched until each partition has reached its end, or f says
// that it is enough. Of the last fetch some may be behind the end.
func readTo(ctx context.Context, reader *cluster.Reader, ends map[pipeline.Partition]int64, f func(cluster.Read) (enough bool, err error)) error {
	left := len(ends)
	for left > 0 {
		reads, err := reader.Next(ctx, fetchWait)
		if err != nil {
			return err
		}
		for _, read := range reads {
			if enough, err := f(read); err != nil || enough {
				return err
			}
			if read.Next >= ends[read.Partition] {
				reader.Drop(read.Partition)
				left--
			}
		}
	}
	return nil
}

// found is a record where it stands. It is valid as long as what was fetched.
type found struct {
	*sarama.Record
	part   pipeline.Partition
	offset int64
	at     time.Time
}

// recordsOf are a fetch's records from where it was asked for, up to the end.
func recordsOf(read cluster.Read, end int64) iter.Seq[found] {
	return func(yield func(found) bool) {
		for _, batch := range read.Batches {
			for _, r := range batch.Records {
				offset := batch.FirstOffset + r.OffsetDelta
				if offset < read.From || offset >= end {
					continue
				}
				if !yield(found{r, read.Partition, offset, cluster.Timestamp(batch, r)}) {
					return
				}
			}
		}
	}
}
