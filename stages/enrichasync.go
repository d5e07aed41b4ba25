package stages

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/leat-stream/leat/internal/pace"
	"github.com/leat-stream/leat/pipeline"
)

// AsyncConfig says how [EnrichAsync] looks up. The zero value works.
type AsyncConfig struct {
	// Concurrency is how many look-ups of a partition may be under way at once, single
	// ones or batches. Default 16.
	Concurrency int
	// BatchSize is how many keys a look-up has at most. Default 100 if the table is a
	// [BatchTable]; another has no batches, and more than 1 is a mistake.
	BatchSize int
	// BatchWait is how long a batch waits for more keys. Default 1 ms. It does not wait
	// while the stage could do nothing else, as before a commit, and waits longer, and
	// grows, while Concurrency others are under way.
	BatchWait time.Duration
	// PerSecond bounds the rate of look-ups, single ones or batches, retries included, of
	// all partitions that this process runs together. Default 0: no bound.
	PerSecond float64
	// Burst is how many look-ups may go at once after a quiet time. Default 1. It is for
	// PerSecond only.
	Burst int
	// BreakAfter is the number of look-ups that must fail in a row, of all partitions, to
	// open the circuit breaker: from then on nothing is looked up, and the records wait,
	// as for a retriable error ([ErrBreakerOpen]). After CoolDown one look-up is let
	// through; if it succeeds all others may go. The ones that failed meet the stage's
	// policy, so that of a service that is down no more than these become dead letters.
	// A key that is not there is no failure. Default 0: no breaker.
	BreakAfter int
	// CoolDown is how long the breaker stays open. Default 5 s.
	CoolDown time.Duration
}

const (
	defaultConcurrency = 16
	defaultKeysAtOnce  = 100
	defaultBatchWait   = time.Millisecond
	defaultCoolDown    = 5 * time.Second
)

// Validate reports all that is wrong, at once. EnrichAsync calls it: the pipeline's
// Validate has what it finds.
func (cfg AsyncConfig) Validate() error {
	var errs []error
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"Concurrency", int64(cfg.Concurrency)}, {"BatchSize", int64(cfg.BatchSize)}, {"BatchWait", int64(cfg.BatchWait)},
		{"Burst", int64(cfg.Burst)}, {"BreakAfter", int64(cfg.BreakAfter)}, {"CoolDown", int64(cfg.CoolDown)},
	} {
		if n.value < 0 {
			errs = append(errs, fmt.Errorf("AsyncConfig.%s must not be negative", n.name))
		}
	}
	if cfg.Concurrency > maxInFlight || cfg.BatchSize > maxInFlight || cfg.Concurrency*cfg.BatchSize > maxInFlight {
		errs = append(errs, fmt.Errorf("AsyncConfig: Concurrency %d × BatchSize %d; use no more than %d together", cfg.Concurrency, cfg.BatchSize, maxInFlight))
	}
	switch {
	case cfg.PerSecond != 0:
		if _, err := pace.NewLimiter(cfg.PerSecond, cmp.Or(cfg.Burst, 1)); err != nil {
			errs = append(errs, fmt.Errorf("AsyncConfig: PerSecond %v, Burst %d: %w", cfg.PerSecond, cfg.Burst, err))
		}
	case cfg.Burst > 0:
		errs = append(errs, errors.New("AsyncConfig.Burst is for PerSecond, which is not set"))
	}
	return errors.Join(errs...)
}

// maxInFlight bounds the records that one partition's stage keeps open.
const maxInFlight = math.MaxUint16

// EnrichAsync is [Enrich] for a table that takes its time: up to Concurrency look-ups of
// each partition are under way while the next records come, and of a [BatchTable] many
// keys are looked up together. Records go on in the order of the input, each once its
// look-up is done; key and join run on the partition's goroutine. A record waits for its
// result no longer than to the next commit, which waits for all look-ups: choose a commit
// interval of many times what one takes. At 20 times that is 5 % of the rate, below one
// time half of it.
//
// Each look-up gets the stage's [pipeline.Timeout], and is tried again as the stage's
// policy says, with others under way meanwhile; see also [AsyncConfig] for a bound of the
// rate and a circuit breaker. If a batch fails for good, its keys are looked up one by
// one, so that an error is only the record's whose key it is. A panic of the table is the
// record's error.
//
// The context of a look-up ends when the partition is given up, or when its record will be
// replayed. It has the values of the record's context, but neither its deadline nor its
// end; that of a batch has no values of records. A stop waits for look-ups for half of its
// time, not for those that wait to be tried again, and then ends their contexts.
//
// In memory there are up to Concurrency × BatchSize records besides the results. A record
// costs a few microseconds and 4 allocations, less in batches.
func EnrichAsync[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(In) K, table Table[K, V], join func(In, V) Out, cfg AsyncConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return enrichAsync(s, name, byValue(key), table, false, func(*pipeline.StageContext) joint[In, V, Out] {
		return valued(func(in In, value V, _ bool) Out { return join(in, value) })
	}, cfg, opts)
}

// EnrichAsyncOptional is EnrichAsync for what may be missing, a left join: join is told
// whether the key was found, and V is its zero value if it was not.
func EnrichAsyncOptional[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(In) K, table Table[K, V], join func(in In, value V, found bool) Out, cfg AsyncConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return enrichAsync(s, name, byValue(key), table, true, func(*pipeline.StageContext) joint[In, V, Out] { return valued(join) }, cfg, opts)
}

// EnrichAsyncCtx is EnrichAsync for functions that may fail. They still run on the
// partition's goroutine, and it waits while they do: each gets the stage's
// [pipeline.Timeout] and is tried again as its policy says.
func EnrichAsyncCtx[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(context.Context, In) (K, error), table Table[K, V], join func(context.Context, In, V) (Out, error), cfg AsyncConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return EnrichAsyncRecord(s, name, func(ctx context.Context, r *pipeline.Record[In]) (K, error) { return key(ctx, r.Value) }, table,
		func(ctx context.Context, r *pipeline.Record[In], value V) (pipeline.Record[Out], error) {
			out, err := join(ctx, r.Value, value)
			return pipeline.With(r, out), err
		}, cfg, opts...)
}

// EnrichAsyncRecord is EnrichAsyncCtx of whole records: the key may come from the record's
// own key or headers, and what join returns goes on as it is, see [MapRecord].
func EnrichAsyncRecord[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(context.Context, *pipeline.Record[In]) (K, error), table Table[K, V], join func(context.Context, *pipeline.Record[In], V) (pipeline.Record[Out], error), cfg AsyncConfig, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	guarded := func(sc *pipeline.StageContext) joint[In, V, Out] {
		type pair struct {
			record *pipeline.Record[In]
			value  V
		}
		run := pipeline.Guard(sc, func(ctx context.Context, p pair) (pipeline.Record[Out], error) { return join(ctx, p.record, p.value) })
		return func(ctx context.Context, in *pipeline.Record[In], value V, _ bool, out *pipeline.Record[Out]) (err error) {
			*out, err = run(ctx, pair{in, value})
			out.Origin = in.Origin
			return err
		}
	}
	return enrichAsync(s, name, func(sc *pipeline.StageContext) keyFunc[In, K] { return pipeline.Guard(sc, key) }, table, false, guarded, cfg, opts)
}

// keyFunc says what is to be looked up for a record.
type keyFunc[In any, K comparable] = func(context.Context, *pipeline.Record[In]) (K, error)

// byValue is for a function of values, which does not fail.
func byValue[In any, K comparable](key func(In) K) func(*pipeline.StageContext) keyFunc[In, K] {
	return func(sc *pipeline.StageContext) keyFunc[In, K] {
		return func(_ context.Context, r *pipeline.Record[In]) (K, error) {
			sc.Enter()
			return key(r.Value), nil
		}
	}
}

func enrichAsync[In, Out, V any, K comparable](s pipeline.Stream[In], name string, keyOf func(*pipeline.StageContext) keyFunc[In, K], table Table[K, V], optional bool, join func(*pipeline.StageContext) joint[In, V, Out], cfg AsyncConfig, opts []pipeline.StageOption) pipeline.Stream[Out] {
	opts = oneToOne(reading(table, opts))
	d, err := newDesk(table, cfg)
	if err != nil {
		opts = append(opts, pipeline.Invalid(err))
	} else {
		d.optional = optional
	}
	return pipeline.Apply(s, "enrich", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		w := newWindow(sc, next, d.concurrency*d.batchSize, join(sc))
		l := &lookUps[K, In, V]{desk: d, sc: sc, owner: &w.owned, slots: make(chan struct{}, d.concurrency)}
		w.flush = l.seal
		key := keyOf(sc)
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			k, err := key(ctx, r)
			if err != nil {
				return err
			}
			c, err := w.add(ctx, r)
			if err != nil {
				return err
			}
			l.begin(w.run, c, k)
			return nil
		}
	}, opts...)
}
