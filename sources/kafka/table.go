package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
		s: s, goals: []*goal{{ends: ends, reached: loaded}}, at: map[pipeline.Partition]int64{}, apply: apply, asks: s.asksOf(topic),
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
	goals   []*goal
	asks    <-chan *goal
	at      map[pipeline.Partition]int64
	apply   func(context.Context, *pipeline.Raw) error
	records chan *sarama.ConsumerMessage
	readers sync.WaitGroup
	parts   map[pipeline.Partition]sarama.PartitionConsumer
	lag     *atomic.Int64
}

// goal is ends that somebody waits for.
type goal struct {
	ends    map[pipeline.Partition]int64 // not reached yet
	reached func()
}

// CaughtUp returns when everything has been applied that had been written to a followed topic
// before.
func (s *Source) CaughtUp(ctx context.Context, topic string) error {
	ends, err := s.client.WrittenEnds(ctx, []string{topic})
	if err != nil {
		return err
	}
	reached := make(chan struct{})
	select {
	case s.asksOf(topic) <- &goal{ends: ends, reached: func() { close(reached) }}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-reached:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// asksOf is where the topic's follower is asked.
func (s *Source) asksOf(topic string) chan *goal {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asks == nil {
		s.asks = map[string]chan *goal{}
	}
	if s.asks[topic] == nil {
		s.asks[topic] = make(chan *goal)
	}
	return s.asks[topic]
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
	f.atEnd(ctx, false)
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
			if f.reaches(part) {
				f.atEnd(ctx, false)
			}
		case g := <-f.asks:
			if err := f.follows(g); err != nil {
				return err
			}
			f.goals = append(f.goals, g)
			f.atEnd(ctx, false)
		case <-t.C:
			f.measureLag()
			f.atEnd(ctx, idle)
			idle = true
		}
	}
}

func addMessage(b *pipeline.Batch, m *sarama.ConsumerMessage, space *headerSpace) {
	add(b, &sarama.RecordBatch{FirstTimestamp: m.Timestamp}, &sarama.Record{Key: m.Key, Value: m.Value, Headers: m.Headers},
		pipeline.Origin{Topic: m.Topic, Partition: m.Partition, Offset: m.Offset}, space)
}

// follows reports a partition that was added since.
func (f *follower) follows(g *goal) error {
	for part := range g.ends {
		if f.parts[part] == nil {
			return fmt.Errorf("%v: %w", part, errAdded)
		}
	}
	return nil
}

var errAdded = errors.New("the partition was added while the topic is followed; start again")

// reaches reports whether somebody waits for where a partition is now.
func (f *follower) reaches(part pipeline.Partition) bool {
	for _, g := range f.goals {
		if end, left := g.ends[part]; left && f.at[part] >= end {
			return true
		}
	}
	return false
}

// atEnd tells those whose ends are reached. What no reader is given counts as passed; it is
// looked for only while nothing comes.
func (f *follower) atEnd(ctx context.Context, idle bool) {
	f.goals = slices.DeleteFunc(f.goals, func(g *goal) bool {
		for part, end := range g.ends {
			if f.at[part] >= end || idle && f.nothingBefore(ctx, part, end) {
				delete(g.ends, part)
			}
		}
		if len(g.ends) > 0 {
			return false
		}
		g.reached()
		return true
	})
}

// nothingBefore reports whether all before an end is decided and none of it is left to be applied.
func (f *follower) nothingBefore(ctx context.Context, part pipeline.Partition, end int64) bool {
	stable, err := f.s.client.Offset(ctx, part, cluster.Latest)
	if err != nil || stable < end {
		return false
	}
	visible, err := f.s.client.Visible(ctx, part, f.at[part], end)
	return err == nil && !visible
}
