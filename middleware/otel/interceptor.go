package otel

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Interceptor is for kafka.Config.Interceptors of the run of p; make it the last, so
// that the topic is settled. Each traced output has the span `send T`, the child of
// what its headers carry: of its record's span, or for a dead letter, which is the
// record as it came, of the message's. It ends with the acknowledgement. Then there is
// one span for each transaction with a traced output: from the first hand-over to its
// end, with links to at most 128 of its outputs, and `commit T` below it if and only if
// the commit is certain. T is the input, or left out if there are several.
//
// What is replayed is sent again and has spans again. At least once there are no
// transactions. It is for pipelines, and one interceptor for one run at a time; see
// [Tracer.ProducerInterceptor] for a producer on its own.
func (t *Tracer) Interceptor(p *pipeline.Pipeline) kafka.HeadersInterceptor {
	i := &interceptor{t: t, sends: t.sends(), commit: "commit"}
	inputs := p.Inputs()
	if len(inputs) == 1 {
		i.commit += " " + inputs[0]
	}
	i.commitAttributes = t.commitAttributes(inputs)
	return i
}

// maxLinks is the SDK's default limit of a span's links.
const maxLinks = 128

type interceptor struct {
	t                *Tracer
	sends            sends
	commit           string
	commitAttributes []attribute.KeyValue
	sampled          atomic.Int64 // outputs without an outcome yet; those that were dropped count on

	// Of the transaction whose outcomes come in; the callbacks' goroutine's own.
	links   []trace.Link
	records int
	began   time.Time // the first hand-over
	acked   time.Time // the last outcome
}

// OnSend begins a send span and injects its context.
func (i *interceptor) OnSend(o *kafka.Outgoing) error {
	if i.t.cfg.Records == NoRecords {
		return nil
	}
	ctx, message := i.t.carried(o.Headers)
	if !message.IsSampled() {
		return nil
	}
	i.sampled.Add(1)
	i.sends.begin(ctx, ctx, o)
	return nil
}

// OnAcknowledgement does nothing: without the headers it is not known whose it is.
func (i *interceptor) OnAcknowledgement(kafka.Result, error) {}

// OnAcknowledgementHeaders ends a send span and notes it for the transaction's.
func (i *interceptor) OnAcknowledgementHeaders(r kafka.Result, headers pipeline.Headers, err error) {
	if i.records == 0 {
		i.began = time.Now().Add(-r.Latency)
	}
	i.records++
	var sc trace.SpanContext
	if i.expects() {
		_, sc = i.t.carried(headers)
	}
	if !sc.IsSampled() && len(i.links) == 0 {
		return // the transaction may have no span: the clock is not read
	}
	i.acked = time.Now()
	if !sc.IsSampled() {
		return
	}
	if i.t.cfg.Records != NoRecords {
		i.sampled.Add(-1)
	}
	if len(i.links) < maxLinks {
		i.links = append(i.links, trace.Link{SpanContext: sc})
	}
	i.sends.end(sc, r, err, i.acked)
}

// expects reports whether an outcome may be that of a sampled output, and of use.
func (i *interceptor) expects() bool {
	if i.t.cfg.Records == NoRecords { // there is no span to end
		return len(i.links) < maxLinks
	}
	return i.sampled.Load() > 0
}

// OnTransactionEnd makes the transaction's span.
func (i *interceptor) OnTransactionEnd(err error) {
	links, records := i.links, i.records
	i.links, i.records = nil, 0
	if len(links) == 0 {
		return
	}
	now := time.Now()
	ctx, span := i.t.tracer.Start(context.Background(), "transaction", trace.WithNewRoot(), trace.WithTimestamp(i.began), trace.WithLinks(links...),
		trace.WithAttributes(semconv.MessagingSystemKafka, semconv.MessagingBatchMessageCount(records)))
	defer span.End(trace.WithTimestamp(now))
	switch {
	case err == nil:
		span.SetAttributes(OutcomeKey.String("committed"))
		_, commit := i.t.tracer.Start(ctx, i.commit, trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(i.acked),
			trace.WithAttributes(i.commitAttributes...))
		commit.End(trace.WithTimestamp(now))
		return
	case errors.Is(err, kafka.ErrUnknownOutcome):
		span.SetAttributes(OutcomeKey.String("unknown"))
		span.SetStatus(codes.Error, "whether it was committed is not known")
	default:
		span.SetAttributes(OutcomeKey.String("aborted"))
		span.SetStatus(codes.Error, "aborted")
	}
	if span.IsRecording() {
		i.t.record(span, err)
	}
}
