package history

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// ReaderConfig says what a [Reader] reads.
type ReaderConfig struct {
	// Name is for reports.
	Name    string
	Brokers []string
	Topics  workload.Topics
	Units   *Units
	// File, if not empty, is where every record is written as it comes.
	File string
	// ByMarkers has the reader read everything, and tell by the transactions' markers
	// what is committed, rather than have the broker and kgo do it. It is for kfake: of
	// what a reader of committed records there saw as aborted when it came, a later one
	// was once in a while shown all of it (kfake v0.0.0-20260918054303, kgo v1.22.2).
	ByMarkers bool
	// Options are further ones of the client.
	Options []kgo.Opt
}

// Reader reads the output topics from their beginning, committed records only. It
// belongs to no group, and goes on through whatever happens to the brokers.
type Reader struct {
	client    *kgo.Client
	topics    map[string]int
	resolvers map[partition]*resolver // nil if the broker tells what is committed
	log       *Log
	cancel    context.CancelFunc
	ended     chan struct{} // closed: the goroutine has returned

	mu    sync.Mutex
	next  Ends          // what has been read up to
	moved chan struct{} // closed and made anew when next moves
	last  error         // the client's last complaint
}

// partition is one of an output.
type partition struct {
	topic     int
	partition int32
}

// StartReader starts to read. The caller must Close the reader; the context does not
// end it.
func StartReader(cfg ReaderConfig) (*Reader, error) {
	isolation := kgo.ReadCommitted()
	if cfg.ByMarkers {
		isolation = kgo.ReadUncommitted()
	}
	opts := append(growing(),
		kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID("chaos-"+cfg.Name),
		kgo.ConsumeTopics(cfg.Topics.Outputs[:]...),
		// From the beginning, and never anywhere else by itself: that would hide a loss.
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(isolation),
		// What is committed mostly ends in a marker: the end would else never be seen.
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(8<<20), kgo.MaxConcurrentFetches(3),
	)
	client, err := kgo.NewClient(append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("reader %s: %w", cfg.Name, err)
	}
	r := &Reader{
		client: client, topics: map[string]int{}, log: &Log{Name: cfg.Name, Units: cfg.Units},
		ended: make(chan struct{}), moved: make(chan struct{}),
	}
	if cfg.ByMarkers {
		r.resolvers = map[partition]*resolver{}
	}
	for i, name := range cfg.Topics.Outputs {
		r.topics[name] = i
	}
	if err := r.log.create(cfg.File); err != nil {
		client.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go r.run(ctx)
	return r, nil
}

func (r *Reader) run(ctx context.Context) {
	defer close(r.ended)
	for ctx.Err() == nil {
		fetches := r.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		fetches.EachError(func(topic string, partition int32, err error) {
			r.last = fmt.Errorf("%s[%d]: %w", topic, partition, err)
			if r.log.Failed == nil && lost(err) {
				r.log.Failed = r.last
			}
		})
		fetches.EachPartition(r.take)
		close(r.moved)
		r.moved = make(chan struct{})
		r.mu.Unlock()
	}
}

// lost reports whether an error means that what was in the log is there no more.
func lost(err error) bool {
	_, dataLoss := errors.AsType[*kgo.ErrDataLoss](err)
	return dataLoss || errors.Is(err, kerr.OffsetOutOfRange)
}

func (r *Reader) take(p kgo.FetchTopicPartition) {
	topic := r.topics[p.Topic]
	take := func(rec *kgo.Record) { r.log.add(topic, rec) }
	for _, rec := range p.Records {
		switch {
		case r.resolvers != nil:
			r.resolver(partition{topic, p.Partition}).add(rec, take)
		case !rec.Attrs.IsControl():
			take(rec)
		}
		r.next.reach(topic, rec.Partition, rec.Offset+1)
	}
}

func (r *Reader) resolver(of partition) *resolver {
	s := r.resolvers[of]
	if s == nil {
		s = new(resolver)
		r.resolvers[of] = s
	}
	return s
}

// Await returns nil when everything before ends has been read, and else why not.
func (r *Reader) Await(ctx context.Context, ends Ends) error {
	for {
		r.mu.Lock()
		missing, moved, last, failed := r.next.before(ends), r.moved, r.last, r.log.Failed
		r.mu.Unlock()
		switch {
		case missing == "":
			return nil
		case failed != nil:
			return fmt.Errorf("reader %s: %w", r.log.Name, failed)
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("reader %s has not read %s: %w", r.log.Name, missing, errors.Join(context.Cause(ctx), last))
		}
	}
}

// Close ends the reader and returns what it has seen. The error is of the file.
func (r *Reader) Close() (*Log, error) {
	r.cancel()
	<-r.ended
	r.client.Close()
	return r.log, r.log.close()
}

// Read reads everything before ends.
func Read(ctx context.Context, cfg ReaderConfig, ends Ends) (*Log, error) {
	r, err := StartReader(cfg)
	if err != nil {
		return nil, err
	}
	failed := r.Await(ctx, ends)
	log, err := r.Close()
	return log, errors.Join(failed, err)
}
