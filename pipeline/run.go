package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// RunOption sets something of one run of a pipeline.
type RunOption func(*runConfig)

type runConfig struct {
	guarantee      Guarantee
	commitInterval time.Duration
	commitRecords  int64
	commitBytes    int64
	stopTimeout    time.Duration
	startTimeout   time.Duration
	stats          *Stats
	logger         *slog.Logger
	onAssigned     func(Partition)
	onRevoked      func(Partition)
	limits         Limits
	observers      []Observer
}

// The defaults of a run.
const (
	// DefaultCommitInterval is Kafka Streams' commit.interval.ms under exactly
	// once.
	DefaultCommitInterval = 100 * time.Millisecond
	// DefaultCommitRecords and DefaultCommitBytes end a transaction before its
	// interval is over; they bound what is kept in memory for a replay.
	DefaultCommitRecords = 100_000
	DefaultCommitBytes   = 32 << 20
	// DefaultStopTimeout bounds an orderly stop.
	DefaultStopTimeout = 10 * time.Second
	// startTimeout bounds the waits for a registry at the start.
	startTimeout = 30 * time.Second
)

// Require sets the guarantee that source and sink must be able to give together;
// Run fails before it starts if they cannot. The default is [ExactlyOnce].
func Require(g Guarantee) RunOption { return func(c *runConfig) { c.guarantee = g } }

// CommitEvery ends a transaction after an interval, or a number of input records,
// or a number of bytes (keys and values, input and output), whichever is first. A
// zero keeps the default of that bound.
func CommitEvery(interval time.Duration, records int64, bytes int64) RunOption {
	return func(c *runConfig) {
		if interval != 0 {
			c.commitInterval = interval
		}
		if records != 0 {
			c.commitRecords = records
		}
		if bytes != 0 {
			c.commitBytes = bytes
		}
	}
}

// StopWithin bounds an orderly stop: half of the time is for stages to finish
// their records, the rest for the last commit. The default is 10 seconds.
func StopWithin(d time.Duration) RunOption { return func(c *runConfig) { c.stopTimeout = d } }

// Observe makes the run's counters readable through s.
func Observe(s *Stats) RunOption { return func(c *runConfig) { c.stats = s } }

// Logger sets where sessions, aborts and recoveries are logged, never records.
// The default is slog.Default().
func Logger(l *slog.Logger) RunOption { return func(c *runConfig) { c.logger = l } }

// OnAssigned calls f for each partition that this worker receives. f must not
// block: it holds up the partition.
func OnAssigned(f func(Partition)) RunOption { return func(c *runConfig) { c.onAssigned = f } }

// OnRevoked calls f for each partition that this worker has given up, after its
// last commit. f must not block: it holds up the partition.
func OnRevoked(f func(Partition)) RunOption { return func(c *runConfig) { c.onRevoked = f } }

func newRunConfig(opts []RunOption) (*runConfig, error) {
	c := &runConfig{
		commitInterval: DefaultCommitInterval, commitRecords: DefaultCommitRecords, commitBytes: DefaultCommitBytes,
		stopTimeout: DefaultStopTimeout, startTimeout: startTimeout,
	}
	for _, o := range opts {
		o(c)
	}
	if c.stats == nil {
		c.stats = new(Stats)
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	var bad []error
	if c.commitInterval <= 0 || c.commitRecords <= 0 || c.commitBytes <= 0 {
		bad = append(bad, errors.New("CommitEvery: interval, records and bytes must be positive"))
	}
	if c.stopTimeout <= 0 {
		bad = append(bad, errors.New("StopWithin must be positive"))
	}
	if slices.Contains(c.observers, nil) {
		bad = append(bad, errors.New("Observers: one is nil"))
	}
	if c.guarantee > AtLeastOnce {
		bad = append(bad, fmt.Errorf("Require: no such guarantee (%d)", c.guarantee))
	}
	return c, invalid("run", bad)
}

// Run runs a pipeline from source to sink until ctx ends or something fails that
// it cannot get over. It validates the pipeline, opens both ends, checks that
// together they can give the guarantee, prepares the serdes and loads the tables,
// in this order, and only then reads input.
//
// When ctx ends, the pipeline stops in order: records in progress are finished,
// what is finished is committed, and Run returns nil. If that takes longer than
// StopWithin, it returns [ErrStopTimeout], up to 4 s later if something does not heed the
// end of its context. If the last commit fails, it returns why; unless the group has
// rebalanced meanwhile ([ErrRebalanced]), for then that input is another's to process.
// Otherwise it returns the error that
// stopped it, wrapped; a record's is a *[StageError].
func Run(ctx context.Context, p *Pipeline, source Source, sink Sink, opts ...RunOption) (err error) {
	cfg, err := newRunConfig(opts)
	if err != nil {
		return err
	}
	if err := p.Validate(); err != nil {
		return err
	}
	running := &Running{
		Pipeline: p, Stats: cfg.stats, Source: source, Sink: sink, Guarantee: cfg.guarantee, CommitInterval: cfg.commitInterval,
	}
	if len(cfg.observers) > 0 {
		running.Settings = cfg.settings(p, source, sink)
	}
	watch := newObservers(cfg.observers, running)
	cfg.stats.phase.Store(int32(PhaseOpening))
	watch.started()
	defer func() {
		cfg.stats.phase.Store(int32(PhaseEnded))
		watch.ended(err)
	}()
	stopCtx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()

	r := &run{p: p, source: source, sink: sink, cfg: cfg, spec: Spec{
		Pipeline: p.name, Guarantee: cfg.guarantee, Inputs: p.Inputs(), Tables: p.Tables(), Outputs: p.Outputs(),
		States: p.States(),
	}}
	terms, err := r.open(stopCtx)
	defer r.close()
	if err != nil {
		return r.outcome(ctx, err)
	}
	if err := r.prepare(stopCtx); err != nil {
		return r.outcome(ctx, err)
	}

	w := newWorker(p, source, sink, terms, cfg, watch)
	r.w = w
	w.stopCtx, w.stopCause, w.hard = stopCtx, stop, hard
	done := make(chan error, 1)
	go func() { done <- r.work(stopCtx, w) }()

	select {
	case err = <-done:
	case <-stopCtx.Done():
		cfg.stats.phase.Store(int32(PhaseStopping))
		deadline := time.NewTimer(cfg.stopTimeout)
		defer deadline.Stop()
		select {
		case err = <-done:
		case <-deadline.C:
			kill()
			if !r.abandon(done) {
				r.opened = r.opened[:1] // the source
				cfg.logger.Warn("the sink does not return from a call and is not closed", "pipeline", p.name)
			}
			return errors.Join(r.outcome(ctx, nil), fmt.Errorf("pipeline %q: %w (%v)", p.name, ErrStopTimeout, cfg.stopTimeout))
		}
	}
	return r.outcome(ctx, err)
}

// run is the state of one Run.
type run struct {
	p      *Pipeline
	source Source
	sink   Sink
	cfg    *runConfig
	spec   Spec
	opened []func() error
	w      *Worker
}

// open opens both ends, checks what they can promise together, and returns the
// sink's terms.
func (r *run) open(ctx context.Context) (to Terms, err error) {
	if _, ok := r.sink.(TransactionalSink); r.cfg.guarantee == ExactlyOnce && !ok {
		return Terms{}, fmt.Errorf("pipeline %q: %w: exactly once needs a sink with transactions, %T has none; use pipeline.Require(pipeline.AtLeastOnce)", r.p.name, ErrGuarantee, r.sink)
	}
	if _, ok := r.source.(TableSource); len(r.p.tables) > 0 && !ok {
		return Terms{}, fmt.Errorf("pipeline %q: %w: %T cannot read tables", r.p.name, ErrInvalid, r.source)
	}
	if _, ok := r.source.(StateSource); len(r.spec.States) > 0 && !ok {
		return Terms{}, fmt.Errorf("pipeline %q: %w: %T cannot read the state of stages", r.p.name, ErrInvalid, r.source)
	}
	if _, ok := r.source.(TableCatcher); len(r.p.markTopics()) > 0 && !ok {
		return Terms{}, fmt.Errorf("pipeline %q: %w: %T cannot say when a table has caught up, which RetryInOrder needs; use RetryTopics", r.p.name, ErrInvalid, r.source)
	}
	r.opened = append(r.opened, r.source.Close)
	from, err := r.source.Open(ctx, r.spec)
	if err != nil {
		return Terms{}, fmt.Errorf("pipeline %q: source: %w", r.p.name, err)
	}
	r.opened = append(r.opened, r.sink.Close)
	spec := r.spec
	spec.Cluster = from.Cluster
	if to, err = r.sink.Open(ctx, spec); err != nil {
		return Terms{}, fmt.Errorf("pipeline %q: sink: %w", r.p.name, err)
	}
	if r.cfg.guarantee == ExactlyOnce {
		_, keeps := r.sink.(PositionSink)
		switch {
		case from.Guarantee != ExactlyOnce || to.Guarantee != ExactlyOnce:
			return Terms{}, fmt.Errorf("pipeline %q: %w: the source gives %v, the sink %v", r.p.name, ErrGuarantee, from.Guarantee, to.Guarantee)
		case keeps && !from.AsksStart:
			return Terms{}, fmt.Errorf("pipeline %q: %w: %T keeps the positions, and %T does not ask where to begin; use pipeline.Require(pipeline.AtLeastOnce)", r.p.name, ErrGuarantee, r.sink, r.source)
		case !keeps && from.Cluster != to.Cluster:
			return Terms{}, fmt.Errorf("pipeline %q: %w: a transaction covers one cluster, the source reads %q and the sink writes %q", r.p.name, ErrGuarantee, from.Cluster, to.Cluster)
		}
	}
	if len(r.spec.States) > 0 && from.Cluster != to.Cluster {
		return Terms{}, fmt.Errorf("pipeline %q: %w: stages keep their state in topic %q, which the sink writes (%q) and the source reads (%q); both must be one cluster",
			r.p.name, ErrInvalid, r.spec.States[0].Topic, to.Cluster, from.Cluster)
	}
	r.cfg.limits = Limits{
		Transaction: shorter(from.Limits.Transaction, to.Limits.Transaction),
		Rebalance:   shorter(from.Limits.Rebalance, to.Limits.Rebalance),
	}
	return to, r.p.validate(r.cfg.limits)
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// prepare lets the serdes do their first look-ups.
func (r *run) prepare(stop context.Context) error {
	ctx, cancel := context.WithTimeout(stop, r.cfg.startTimeout)
	defer cancel()
	for _, n := range r.p.nodes {
		for key, serde := range map[bool]any{true: n.keys, false: n.serde} {
			prep, ok := serde.(Preparer)
			if !ok {
				continue
			}
			for _, topic := range n.topics {
				if err := prepareSlot(ctx, prep, Slot{Topic: topic, Key: key}, n.kind == kindOutput); err != nil {
					if stop.Err() != nil {
						return context.Cause(stop)
					}
					return fmt.Errorf("pipeline %q, %s %q: %w", r.p.name, n.label, n.name, err)
				}
			}
		}
	}
	return nil
}

func prepareSlot(ctx context.Context, prep Preparer, at Slot, encode bool) error {
	for try := 0; ; try++ {
		err := prep.Prepare(ctx, at, encode)
		if err == nil || !IsRetriable(err) || !sleep(ctx, Backoff{}.Wait(try)) {
			return err
		}
	}
}

// work loads the tables, then runs the source, and returns when all of its
// goroutines have.
func (r *run) work(ctx context.Context, w *Worker) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	helpers, cancel := context.WithCancel(w.hard)
	defer cancel()
	r.cfg.stats.phase.CompareAndSwap(int32(PhaseOpening), int32(PhaseLoading))
	if err := r.loadTables(ctx, helpers, w, &wg); err != nil {
		return err
	}
	r.cfg.stats.phase.CompareAndSwap(int32(PhaseLoading), int32(PhaseJoining))
	wg.Go(func() { w.commitLoop(helpers) })
	return r.source.Run(ctx, w)
}

// loadTables starts to follow the tables and marks, and returns when all are loaded.
func (r *run) loadTables(ctx, helpers context.Context, w *Worker, wg *sync.WaitGroup) error {
	loaded := make(chan struct{}, len(r.p.tables)+len(w.marks))
	for _, m := range w.marks {
		wg.Go(func() {
			apply := func(_ context.Context, rec *Raw) error {
				m.apply(rec)
				return nil
			}
			err := r.source.(TableSource).Follow(helpers, m.topic, apply, func() { loaded <- struct{}{} })
			if err != nil && helpers.Err() == nil {
				w.fail(fmt.Errorf("pipeline %q, topic %q of marks: %w", r.p.name, m.topic, err))
			}
		})
	}
	for _, t := range r.p.tables {
		if err := t.acquire(); err != nil {
			return fmt.Errorf("pipeline %q: %w", r.p.name, err)
		}
		wg.Go(func() {
			defer t.release()
			apply := func(ctx context.Context, rec *Raw) error { return w.applyToTable(ctx, t, rec) }
			err := r.source.(TableSource).Follow(helpers, t.topicName(), apply, func() { loaded <- struct{}{} })
			if err != nil && helpers.Err() == nil {
				w.fail(fmt.Errorf("pipeline %q, table %q: %w", r.p.name, t.topicName(), err))
			}
		})
	}
	for range cap(loaded) {
		select {
		case <-loaded:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

func (r *run) close() {
	for i := len(r.opened) - 1; i >= 0; i-- {
		if err := r.opened[i](); err != nil {
			r.cfg.logger.Warn("close", "pipeline", r.p.name, "error", err)
		}
	}
}

// outcome is what Run returns: the worker's failure if there is one, nil if the
// caller ended the run, else err.
func (r *run) outcome(ctx context.Context, err error) error {
	switch {
	case r.w != nil && r.w.failure.Load() != nil:
		return *r.w.failure.Load()
	case ctx.Err() != nil && (errors.Is(err, ctx.Err()) || errors.Is(err, context.Cause(ctx))):
		return nil
	}
	return err
}
