// Package otel traces pipelines with OpenTelemetry, by its conventions for messaging
// (https://opentelemetry.io/docs/specs/semconv/messaging/, v1.43.0; their status is
// Development, so that names may change with them):
//
//	tracer, err := otel.New(otel.Config{Group: "orders"})
//	p := pipeline.New("orders", tracer.Middleware())
//	…
//	err = kafka.Run(ctx, p, kafka.Config{Interceptors: []kafka.Interceptor{tracer.Interceptor(p)}, …})
//
// The spans:
//
//	process T    CONSUMER  one input record's chain; linked to the message's context, or its child
//	lookup NAME  INTERNAL  one look-up of a stage in a table, see [TraceTable]
//	send T       PRODUCER  one output, until its acknowledgement; its context is in the record's headers
//	transaction  INTERNAL  one transaction, linked to the spans of its outputs
//	commit T     CLIENT    child of transaction; only if the commit is certain
//
// A kafka.Producer without a pipeline has send spans with [Tracer.ProducerInterceptor].
// [NewLogHandler] puts the ids of the trace and the span into what is logged.
//
// By default records have spans whose incoming context is sampled, and transactions
// that hold one of their outputs. All others cost a look at their headers and pass the
// context that they came with on to their outputs.
//
// Which headers carry a context, the propagator says: with those of
// go.opentelemetry.io/contrib, B3's and Jaeger's. What is injected replaces every
// earlier header of its name; what is extracted is the last.
//
// A [Meter] measures them: docs/observability has the metrics.
package otel
