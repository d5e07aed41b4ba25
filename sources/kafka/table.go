package kafkasource

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// Follow reads a topic from its beginning, read_committed and outside the group,
// as a table wants it.
func (s *Source) Follow(ctx context.Context, topic string, apply func(context.Context, *pipeline.Raw) error, loaded func()) error {
	ends, err := s.client.Offsets(ctx, []string{topic}, cluster.Latest)
	if err != nil {
		return err
	}
	conf := s.cfg.cluster().Sarama()
	conf.Consumer.IsolationLevel = sarama.ReadCommitted
	conf.Consumer.Return.Errors = true
	conf.Consumer.Fetch.Default = int32(s.cfg.FetchMaxBytes)
	conf.Metadata.Retry.Max = 200
	if err := authenticate(ctx, conf, s.cfg.SASL); err != nil {
		return err
	}
	consumer, err := sarama.NewConsumer(s.cfg.Brokers, conf)
	if err != nil {
		return fmt.Errorf("topic %q: %w", topic, err)
	}
	f := &follower{
		s: s, ends: ends, at: map[pipeline.Partition]int64{}, apply: apply, loaded: loaded,
		records: make(chan *sarama.ConsumerMessage), parts: map[pipeline.Partition]sarama.PartitionConsumer{}, lag: s.lagOf(topic),
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer func() {
		cancel(nil)
		f.readers.Wait()
		_ = consumer.Close()
	}()
	for part := range ends {
		first, err := s.client.Offset(ctx, part, cluster.Earliest)
		if err != nil {
			return err
		}
		f.at[part] = first
		pc, err := consumer.ConsumePartition(topic, part.Partition, sarama.OffsetOldest)
		if err != nil {
			return fmt.Errorf("%v: %w", part, err)
		}
		f.parts[part] = pc
		f.read(ctx, cancel, pc, part)
	}
	return f.run(ctx)
}

// follower merges a topic's partitions into one sequence.
type follower struct {
	s       *Source
	ends    map[pipeline.Partition]int64 // not reached yet
	at      map[pipeline.Partition]int64
	apply   func(context.Context, *pipeline.Raw) error
	loaded  func()
	records chan *sarama.ConsumerMessage
	readers sync.WaitGroup
	parts   map[pipeline.Partition]sarama.PartitionConsumer
	lag     *atomic.Int64
}

// TableLag returns how many offsets of a table's topic have not been applied.
func (s *Source) TableLag(topic string) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lag := s.lags[topic]
	if lag == nil {
		return 0, false
	}
	return lag.Load(), true
}

func (s *Source) lagOf(topic string) *atomic.Int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lags == nil {
		s.lags = map[string]*atomic.Int64{}
	}
	s.lags[topic] = new(atomic.Int64)
	return s.lags[topic]
}

func (f *follower) measureLag() {
	var lag int64
	for part, pc := range f.parts {
		lag += max(0, pc.HighWaterMarkOffset()-f.at[part])
	}
	f.lag.Store(lag)
}

func (f *follower) read(ctx context.Context, fail context.CancelCauseFunc, pc sarama.PartitionConsumer, part pipeline.Partition) {
	f.readers.Go(func() {
		for m := range pc.Messages() {
			select {
			case f.records <- m:
			case <-ctx.Done():
			}
		}
	})
	f.readers.Go(func() {
		for err := range pc.Errors() {
			if isFatal(err) {
				fail(pipeline.Fatal(fmt.Errorf("%v: %w", part, f.s.readError(err, part.Topic))))
				continue
			}
			f.s.cfg.Logger.Debug("table", "partition", part, "error", err)
		}
	})
	f.readers.Go(func() {
		<-ctx.Done()
		pc.AsyncClose()
	})
}

func (f *follower) run(ctx context.Context) error {
	var space headerSpace
	t := time.NewTicker(endPoll)
	defer t.Stop()
	b := &pipeline.Batch{}
	loaded := f.atEnd(ctx, false)
	for idle := false; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-f.records:
			idle = false
			b.Records = b.Records[:0]
			addMessage(b, m, &space)
			if err := f.apply(ctx, &b.Records[0]); err != nil {
				return err
			}
			part := pipeline.Partition{Topic: m.Topic, Partition: m.Partition}
			f.at[part] = m.Offset + 1
			if end, left := f.ends[part]; left && m.Offset+1 >= end {
				loaded = f.atEnd(ctx, false)
			}
		case <-t.C:
			f.measureLag()
			if !loaded {
				loaded = f.atEnd(ctx, idle)
			}
			idle = true
		}
	}
}

func addMessage(b *pipeline.Batch, m *sarama.ConsumerMessage, space *headerSpace) {
	add(b, &sarama.RecordBatch{FirstTimestamp: m.Timestamp}, &sarama.Record{Key: m.Key, Value: m.Value, Headers: m.Headers},
		pipeline.Origin{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}, space)
}

// atEnd reports whether every end is reached, and tells so the first time. What
// no reader is given counts as passed; it is looked for only while nothing comes.
func (f *follower) atEnd(ctx context.Context, idle bool) bool {
	for part, end := range f.ends {
		at := f.at[part]
		if at < end && idle {
			if visible, err := f.s.client.Visible(ctx, part, at, end); err == nil && !visible {
				at = end
			}
		}
		if at >= end {
			delete(f.ends, part)
		}
	}
	if len(f.ends) > 0 {
		return false
	}
	f.loaded()
	return true
}
