package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/watermill"
)

// runAfter runs the application in a pipeline, over all messages: exactly once.
func runAfter(ctx context.Context, brokers []string, in, out string) (took time.Duration, records int64, err error) {
	var first atomic.Int64
	timed := func(msg *message.Message) ([]*message.Message, error) {
		if first.Load() == 0 {
			first.CompareAndSwap(0, time.Now().UnixNano())
		}
		return settle(msg)
	}

	p := pipeline.New("settle")
	payments := pipeline.From(p, in, serde.Bytes())
	settled := watermill.Handler(payments, "settle", timed, watermill.Middleware(around...))
	pipeline.To(settled, out, watermill.Messages())
	var stats pipeline.Stats
	err = kafka.Run(ctx, p, kafka.Config{Brokers: brokers, Group: out, UntilEnd: true, Stats: &stats})

	s := stats.Snapshot()
	return s.LastCommit.Sub(time.Unix(0, first.Load())), s.Committed, err
}
