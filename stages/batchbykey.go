package stages

import (
	"context"
	"slices"

	"github.com/leat-stream/leat/pipeline"
)

// BatchByKey is [Batch] for each key apart: records are collected, and when the bounds
// are reached or a commit is due, the function is called for each key, in the order in
// which they came first, with the key's values in theirs. It makes one write of many, the
// last state of each key in a transaction for instance.
//
// It is no window in time: what is together depends on when commits are, and a key comes
// again after each. The bounds are those of all keys together. If the function fails for a
// key, this is the error of the key's records only.
//
// What it returns goes on with the head of the key's last record and stands where that
// one stands among the outputs: in the order of the input, not of the keys.
func BatchByKey[In, Out any, K comparable](s pipeline.Stream[In], name string, cfg BatchConfig, key func(In) K, fn func(K, []In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return BatchByKeyCtx(s, name, cfg,
		func(_ context.Context, v In) (K, error) { return key(v), nil },
		func(_ context.Context, k K, values []In) ([]Out, error) { return fn(k, values) }, opts...)
}

// BatchByKeyCtx is BatchByKey for functions that wait for something. A record whose key
// fails is not collected.
func BatchByKeyCtx[In, Out any, K comparable](s pipeline.Stream[In], name string, cfg BatchConfig, key func(context.Context, In) (K, error), fn func(context.Context, K, []In) ([]Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	keyOf := func(ctx context.Context, r *pipeline.Record[In]) (K, error) { return key(ctx, r.Value) }
	return batchedByKey(s, name, cfg, opts, keyOf, func(sc *pipeline.StageContext, next pipeline.Next[Out], k *K) batchFunc[In] {
		return ofValues(sc, next, pipeline.Guard(sc, func(ctx context.Context, values []In) ([]Out, error) { return fn(ctx, *k, values) }))
	})
}

// BatchByKeyRecord is BatchByKey of whole records: see [BatchRecord].
func BatchByKeyRecord[In, Out any, K comparable](s pipeline.Stream[In], name string, cfg BatchConfig, key func(context.Context, *pipeline.Record[In]) (K, error), fn func(context.Context, K, []pipeline.Record[In]) ([]pipeline.Record[Out], error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return batchedByKey(s, name, cfg, opts, key, func(sc *pipeline.StageContext, next pipeline.Next[Out], k *K) batchFunc[In] {
		return ofRecords(sc, next, pipeline.Guard(sc, func(ctx context.Context, records []pipeline.Record[In]) ([]pipeline.Record[Out], error) {
			return fn(ctx, *k, records)
		}))
	})
}

type keyed[In any, K comparable] struct {
	key    K
	record pipeline.Record[In]
}

// batchedByKey gives the prepared function the key by a pointer: there is one at a time.
func batchedByKey[In, Out any, K comparable](s pipeline.Stream[In], name string, cfg BatchConfig, opts []pipeline.StageOption, key func(context.Context, *pipeline.Record[In]) (K, error), prepare func(*pipeline.StageContext, pipeline.Next[Out], *K) batchFunc[In]) pipeline.Stream[Out] {
	cfg, opts = cfg.withDefaults(opts)
	return pipeline.Apply(s, "batch by key", name, func(sc *pipeline.StageContext, next pipeline.Next[Out]) pipeline.Next[In] {
		var current K
		run, keyOf := prepare(sc, next, &current), pipeline.Guard(sc, key)
		var groups byKey[In, K]
		add := collect(sc, cfg, func(ctx context.Context, held []*pipeline.Held, members []keyed[In, K]) error {
			groups.arrange(held, members)
			defer groups.clear()
			from := 0
			for i, to := range groups.ends {
				current = groups.keys[i]
				held, records := groups.held[from:to], groups.records[from:to]
				n := living(held, records) // another part of one may have failed, under another key
				if err := sc.ResumeAll(ctx, held[:n], func(ctx context.Context) error { return run(ctx, records[:n]) }); err != nil {
					return err
				}
				from = to
			}
			return nil
		})
		return func(ctx context.Context, r *pipeline.Record[In]) error {
			k, err := keyOf(ctx, r)
			if err != nil {
				return err
			}
			return add(ctx, keyed[In, K]{k, *r})
		}
	}, opts...)
}

// byKey is what was collected, key by key. Its memory is used again.
type byKey[In any, K comparable] struct {
	numbers map[K]int // of the keys, as they came
	keys    []K
	ends    []int // of each key's part of the following
	held    []*pipeline.Held
	records []pipeline.Record[In]
}

func (g *byKey[In, K]) arrange(held []*pipeline.Held, members []keyed[In, K]) {
	if g.numbers == nil {
		g.numbers = map[K]int{}
	}
	which := make([]int, len(members))
	for i := range members {
		k := members[i].key
		n, ok := g.numbers[k]
		if !ok {
			n = len(g.keys)
			g.numbers[k] = n
			g.keys, g.ends = append(g.keys, k), append(g.ends, 0)
		}
		which[i] = n
		g.ends[n]++
	}
	start := 0
	for n, count := range g.ends {
		g.ends[n] = start
		start += count
	}
	g.held, g.records = slices.Grow(g.held, start)[:start], slices.Grow(g.records, start)[:start]
	for i, n := range which {
		at := g.ends[n]
		g.held[at], g.records[at] = held[i], members[i].record
		g.ends[n]++
	}
}

func (g *byKey[In, K]) clear() {
	clear(g.numbers)
	clear(g.keys)
	clear(g.held)
	clear(g.records)
	g.keys, g.ends, g.held, g.records = g.keys[:0], g.ends[:0], g.held[:0], g.records[:0]
}
