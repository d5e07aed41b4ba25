package otel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/stages"
)

// FoundKey is the attribute of a look-up's span that says whether the table has an
// entry for the key.
const FoundKey = attribute.Key("leat.lookup.found")

// recordKey marks the context of a record that has a span.
type recordKey struct{}

// TraceTable returns a table whose look-ups have the span `lookup NAME`, for stages.Enrich
// and its kin: a child of the record's `process T`, with the error, and without the key.
// Records without a span cost a look into the context, and no allocation. name must be
// one of few, such as the table's.
//
// The span is INTERNAL. If the table asks a remote system and its client makes no span of
// its own, let opts say what it is, by the conventions for that system:
//
//	trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(semconv.DBSystemNamePostgreSQL)
//
// Inside of a cache, stages.Cached(otel.TraceTable(…), …), look-ups are those that the cache
// could not answer, once for all records that wait for the same key: the usual order. Around
// a cache they are all, hits and waits included.
func TraceTable[K comparable, V any](t *Tracer, name string, table stages.Table[K, V], opts ...trace.SpanStartOption) stages.Table[K, V] {
	traced := &tracedTable[K, V]{t: t, table: table, name: "lookup " + name, begin: opts}
	if of, ok := table.(topical); ok {
		return &tracedTopic[K, V]{traced, of}
	}
	return traced
}

type tracedTable[K comparable, V any] struct {
	t     *Tracer
	table stages.Table[K, V]
	name  string
	begin []trace.SpanStartOption
}

// topical is a table of the pipeline, whose topic belongs to the drawing.
type topical interface{ Topic() string }

type tracedTopic[K comparable, V any] struct {
	*tracedTable[K, V]
	topical
}

// Get looks up.
func (t *tracedTable[K, V]) Get(ctx context.Context, key K) (V, bool, error) {
	if ctx.Value(recordKey{}) == nil || !trace.SpanFromContext(ctx).IsRecording() {
		return t.table.Get(ctx, key)
	}
	ctx, span := t.t.tracer.Start(ctx, t.name, t.begin...)
	returned := false
	defer func() {
		if !returned {
			panicked(span)
		}
		span.End()
	}()
	value, found, err := t.table.Get(ctx, key)
	returned = true
	if err == nil {
		span.SetAttributes(FoundKey.Bool(found))
	}
	t.t.failed(span, err)
	return value, found, err
}
