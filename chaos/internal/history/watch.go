package history

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Sample is what the brokers say at one time. What they do not say is [Unknown].
type Sample struct {
	// At is when the first question was asked, Took how long it took to be told
	// Committed.
	At   time.Time
	Took time.Duration
	// Committed are the group's stable positions by input partition.
	Committed []int64
	// Input are the ends of the input's partitions, asked for before Committed.
	Input []int64
	// High are the high watermarks of the outputs, asked for after Committed: what
	// belongs to a committed position is before them.
	High Ends
	// Open are the open transactions that the coordinators know of; asked for less
	// often, and then Looked is true.
	Open   []OpenTransaction
	Looked bool
}

// Known is when Committed was known.
func (s *Sample) Known() time.Time { return s.At.Add(s.Took) }

// WatchConfig says what a [Watch] looks at.
type WatchConfig struct {
	Brokers []string
	Topics  workload.Topics
	// Group is the workers' group.
	Group string
	// TransactionalIDs is what the workers' transactional ids begin with.
	TransactionalIDs string
	// Every is the time between samples. Default: 200 ms. Open transactions are
	// looked at every fifth time.
	Every time.Duration
	// Options are further ones of the client.
	Options []kgo.Opt
}

// Watch takes samples. What cannot be had, since brokers are down, is left out.
type Watch struct {
	cfg    WatchConfig
	client *kgo.Client
	admin  *kadm.Client
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	samples []Sample
}

// StartWatch starts to take samples. The caller must Close the watch.
func StartWatch(cfg WatchConfig) (*Watch, error) {
	if cfg.Every == 0 {
		cfg.Every = 200 * time.Millisecond
	}
	opts := append(growing(), kgo.SeedBrokers(cfg.Brokers...), kgo.ClientID("chaos-watch"), kgo.AlwaysRetryEOF())
	client, err := kgo.NewClient(append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("watch: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{cfg: cfg, client: client, admin: kadm.NewClient(client), cancel: cancel, ended: make(chan struct{})}
	go w.run(ctx)
	return w, nil
}

const (
	// patience bounds what is asked for one sample.
	patience = 3 * time.Second
	// lookEvery is how many samples there are to one look at transactions.
	lookEvery = 5
)

func (w *Watch) run(ctx context.Context) {
	defer close(w.ended)
	t := time.NewTicker(w.cfg.Every)
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		s, ok := w.sample(ctx, n%lookEvery == 0)
		if ok {
			w.mu.Lock()
			w.samples = append(w.samples, s)
			w.mu.Unlock()
		}
	}
}

// sample reports false if the brokers do not answer.
func (w *Watch) sample(ctx context.Context, look bool) (s Sample, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.At = time.Now()
	listed, err := w.admin.ListEndOffsets(ctx, w.cfg.Topics.Input)
	if err != nil {
		return s, false
	}
	s.Input = partitions(listed, w.cfg.Topics.Input)
	s.Committed = w.committed(ctx)
	s.Took = time.Since(s.At)
	s.High, _ = outputEnds(ctx, w.admin, w.cfg.Topics, false)
	s.High.raise(ctx, w.client, w.cfg.Topics)
	if look {
		s.Open, err = coordinated(ctx, w.admin, w.cfg.TransactionalIDs)
		s.Looked = err == nil
	}
	return s, true
}

// committed fetches stable positions only: those of a transaction under way count as
// unknown, and so do all if there is no group yet.
func (w *Watch) committed(ctx context.Context) (offsets []int64) {
	fetched, err := w.admin.FetchOffsets(kadm.RequireStable(ctx), w.cfg.Group)
	if err != nil {
		return nil
	}
	for p, o := range fetched[w.cfg.Topics.Input] {
		offsets = grown(offsets, p, Unknown)
		if o.Err == nil {
			offsets[p] = o.At
		}
	}
	return offsets
}

// Samples returns what there is so far.
func (w *Watch) Samples() []Sample {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.samples[:len(w.samples):len(w.samples)]
}

// AwaitCommitted returns nil when a sample shows that everything before ends is
// committed.
func (w *Watch) AwaitCommitted(ctx context.Context, ends []int64) error {
	t := time.NewTicker(w.cfg.Every)
	defer t.Stop()
	for {
		var at []int64
		if all := w.Samples(); len(all) > 0 {
			at = all[len(all)-1].Committed
		}
		if reached(at, ends) {
			return nil
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("committed up to %v of %v: %w", at, ends, context.Cause(ctx))
		}
	}
}

// reached reports whether everything before ends is committed. Of a partition without
// records there may be no position.
func reached(at, ends []int64) bool {
	for p, end := range ends {
		if end > 0 && (p >= len(at) || at[p] < end) {
			return false
		}
	}
	return true
}

// AwaitClosed returns when no transaction is open any more, for the coordinators as
// well as in the partitions, with how long that took and where the outputs end; at
// the context's end, with those that are open. Workers must have ended: one that works
// opens transactions all the time.
func (w *Watch) AwaitClosed(ctx context.Context) (ends Ends, took time.Duration, open []OpenTransaction, err error) {
	began := time.Now()
	t := time.NewTicker(w.cfg.Every)
	defer t.Stop()
	for {
		found, failed := w.open(ctx)
		if failed == nil {
			open, err = found, nil
		} else if ctx.Err() == nil || open == nil {
			err = failed
		}
		if failed == nil && len(open) == 0 {
			ends, err = outputEnds(ctx, w.admin, w.cfg.Topics, true)
			return ends, time.Since(began), nil, err
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			if len(open) > 0 {
				err = nil // that says it
			}
			return ends, time.Since(began), open, err
		}
	}
}

func (w *Watch) open(ctx context.Context) ([]OpenTransaction, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	known, err := coordinated(ctx, w.admin, w.cfg.TransactionalIDs)
	if err != nil {
		return nil, err
	}
	there, err := hanging(ctx, w.admin, w.cfg.Topics)
	return append(known, there...), err
}

// final takes samples until one is complete, or for some seconds, and returns all.
func (w *Watch) final(ctx context.Context) []Sample {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	from := len(w.Samples())
	t := time.NewTicker(w.cfg.Every)
	defer t.Stop()
	for {
		all := w.Samples()
		if slices.ContainsFunc(all[from:], complete) {
			return all
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return all
		}
	}
}

func complete(s Sample) bool {
	for p, end := range s.Input {
		if end != 0 && (p >= len(s.Committed) || s.Committed[p] == Unknown) {
			return false
		}
	}
	return len(s.High[workload.Left]) > 0
}

// Close ends the watch. Closing it again does nothing.
func (w *Watch) Close() {
	w.cancel()
	<-w.ended
	w.client.Close()
}
