package stages

import (
	"context"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// errUnknownKey never says which key: errors carry no payload.
var errUnknownKey = fmt.Errorf("the table has no entry for the record's key: %w", pipeline.ErrNotFound)

// Enrich joins each value with what a table holds for its key. Key, headers and
// timestamp of the record stay. A key that is not in the table is the record's
// error [pipeline.ErrNotFound]; [EnrichOptional] goes on without.
//
// The look-up is not part of the transaction: a replay may find another value. It
// costs what the table's Get costs.
func Enrich[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(In) K, table Table[K, V], join func(In, V) Out, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapKind(s, "enrich", name, func(ctx context.Context, r *pipeline.Record[In]) (out Out, err error) {
		v, ok, err := table.Get(ctx, key(r.Value))
		if err == nil && !ok {
			err = errUnknownKey
		}
		if err != nil {
			return out, err
		}
		return join(r.Value, v), nil
	}, reading(table, opts))
}

// EnrichOptional is Enrich for what may be missing, a left join: join is told
// whether the key was found, and V is its zero value if it was not.
func EnrichOptional[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(In) K, table Table[K, V], join func(in In, value V, found bool) Out, opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapKind(s, "enrich", name, func(ctx context.Context, r *pipeline.Record[In]) (out Out, err error) {
		v, ok, err := table.Get(ctx, key(r.Value))
		if err != nil {
			return out, err
		}
		return join(r.Value, v, ok), nil
	}, reading(table, opts))
}

// EnrichCtx is Enrich for functions that wait for something or may fail.
func EnrichCtx[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(context.Context, In) (K, error), table Table[K, V], join func(context.Context, In, V) (Out, error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapKind(s, "enrich", name, func(ctx context.Context, r *pipeline.Record[In]) (out Out, err error) {
		k, err := key(ctx, r.Value)
		if err != nil {
			return out, err
		}
		v, ok, err := table.Get(ctx, k)
		if err == nil && !ok {
			err = errUnknownKey
		}
		if err != nil {
			return out, err
		}
		return join(ctx, r.Value, v)
	}, reading(table, opts))
}

// EnrichRecord is Enrich of whole records: the key may come from the record's own
// key or headers, and what join returns goes on as it is, see [MapRecord]. For a
// left join of records use MapRecord and the table's Get.
func EnrichRecord[In, Out, V any, K comparable](s pipeline.Stream[In], name string, key func(context.Context, *pipeline.Record[In]) (K, error), table Table[K, V], join func(context.Context, *pipeline.Record[In], V) (pipeline.Record[Out], error), opts ...pipeline.StageOption) pipeline.Stream[Out] {
	return mapRecordKind(s, "enrich", name, func(ctx context.Context, r *pipeline.Record[In]) (out pipeline.Record[Out], err error) {
		k, err := key(ctx, r)
		if err != nil {
			return out, err
		}
		v, ok, err := table.Get(ctx, k)
		if err == nil && !ok {
			err = errUnknownKey
		}
		if err != nil {
			return out, err
		}
		return join(ctx, r, v)
	}, reading(table, opts))
}

// reading adds a table of the pipeline to the stage's options, for the drawing, and a
// cache, for its counters.
func reading[K comparable, V any](table Table[K, V], opts []pipeline.StageOption) []pipeline.StageOption {
	if named, ok := table.(interface{ Topic() string }); ok {
		opts = append(opts[:len(opts):len(opts)], pipeline.Reads(named))
	}
	if cache, ok := table.(interface{ Stats() CacheStats }); ok {
		opts = append(opts[:len(opts):len(opts)], pipeline.Caches(cache.Stats))
	}
	return opts
}
