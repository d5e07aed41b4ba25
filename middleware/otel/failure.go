package otel

import (
	"context"
	"errors"
	"fmt"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// StageKey is the attribute of a span with an error that names the stage it is of, and
// ClassKey says what the error means: retriable, abortable, recoverable, fatal, or
// the record's.
const (
	StageKey = attribute.Key("leat.stage")
	ClassKey = attribute.Key("leat.error.class")
)

// ours are errors whose text is no user function's: nothing of a record is in them.
var ours = []error{
	pipeline.ErrTombstone, pipeline.ErrNotFound, pipeline.ErrUnknownTopic, pipeline.ErrTooLarge, pipeline.ErrMissingTopic,
	kafka.ErrEncode, kafka.ErrPartition, kafka.ErrHeaders, kafka.ErrTimestamp, kafka.ErrBufferFull, kafka.ErrDeliveryTimeout,
	kafka.ErrClosed, kafka.ErrFenced, kafka.ErrUnknownOutcome, kafka.ErrAborted,
	context.DeadlineExceeded, context.Canceled,
}

// failed records an error: its type, stage and class, and its text under ErrorText.
func (t *Tracer) failed(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	text := t.record(span, err)
	span.SetStatus(codes.Error, text)
}

// record is failed for a span whose status says something else. It returns the text.
func (t *Tracer) record(span trace.Span, err error) string {
	kind := typeOf(err)
	span.SetAttributes(kind)
	if !errors.Is(err, context.Canceled) { // it is nobody's: the partition is given up
		span.SetAttributes(ClassKey.String(classOf(err)))
	}
	stage := ""
	if se, ok := errors.AsType[*pipeline.StageError](err); ok {
		span.SetAttributes(StageKey.String(se.Stage))
		stage = fmt.Sprintf("stage %q: ", se.Stage)
	}
	if t.cfg.ErrorText {
		span.RecordError(err)
		return err.Error()
	}
	text := stage + outline(err, kind)
	span.AddEvent(semconv.ExceptionEventName, trace.WithAttributes(
		semconv.ExceptionType(kind.Value.AsString()), semconv.ExceptionMessage(text),
	))
	return text
}

// panicked marks the span of a function that does not return.
func panicked(span trace.Span) {
	span.SetStatus(codes.Error, "panic")
	span.SetAttributes(semconv.ErrorTypeKey.String("panic"))
}

// outline is what can be said of an error without its text.
func outline(err error, kind attribute.KeyValue) string {
	if code, ok := errors.AsType[sarama.KError](err); ok {
		return code.Error()
	}
	for _, e := range ours {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return kind.Value.AsString()
}

// typeOf is error.type: that of the error which the engine has wrapped.
func typeOf(err error) attribute.KeyValue {
	if _, ok := errors.AsType[*pipeline.PanicError](err); ok {
		return semconv.ErrorTypeKey.String("panic")
	}
	if e, ok := errors.AsType[*pipeline.StageError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*kafka.DeliveryError](err); ok {
		err = e.Err
	}
	for marked(err) { // the mark has a type of its own
		inner := errors.Unwrap(err)
		if inner == nil {
			break
		}
		err = inner
	}
	return semconv.ErrorType(err)
}

func marked(err error) bool { return pipeline.IsRetriable(err) || pipeline.IsFatal(err) }

func classOf(err error) string {
	_, delivery := errors.AsType[*kafka.DeliveryError](err)
	switch {
	case delivery, marked(err), errors.Is(err, kafka.ErrAborted), errors.Is(err, kafka.ErrUnknownOutcome):
		return kafka.ClassOf(err).String()
	}
	return kafka.RecordFault.String()
}
