package otel_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// invoiceError is a user's.
type invoiceError struct{ customer string }

func (e *invoiceError) Error() string { return "no such customer: " + e.customer }

// said is all the text of a span.
func said(s tracetest.SpanStub) string {
	var b strings.Builder
	fmt.Fprint(&b, s.Name, s.Status.Description, s.Attributes)
	for _, e := range s.Events {
		fmt.Fprint(&b, e.Name, e.Attributes)
	}
	return b.String()
}

// By default nothing that a user function has said is in a span, only where and what kind
// of error it was; with ErrorText all of it is.
func TestTextsOfErrors(t *testing.T) {
	private := &invoiceError{"secret"}
	for name, c := range map[string]struct {
		fn                    func(context.Context, string) error
		kind, class, describe string
	}{
		"typed": {
			func(context.Context, string) error { return private },
			"*otel_test.invoiceError", "the record's", `stage "check": `,
		},
		"wrapped": {
			func(context.Context, string) error { return fmt.Errorf("secret: %w", private) },
			"*otel_test.invoiceError", "the record's", `stage "check": `,
		},
		"fatal": {
			func(context.Context, string) error { return fmt.Errorf("secret: %w", pipeline.Fatal(private)) },
			"*otel_test.invoiceError", "fatal", `stage "check": `,
		},
		"a text": {
			func(context.Context, string) error { return errors.New("secret") },
			"*errors.errorString", "the record's", `stage "check": *errors.errorString`,
		},
		"ours": {
			func(context.Context, string) error { return fmt.Errorf("secret: %w", pipeline.ErrNotFound) },
			"*errors.errorString", "the record's", `stage "check": not found`,
		},
		"panic": {
			func(context.Context, string) error { panic("secret") },
			"panic", "the record's", "panic", // the stage is known in a run only
		},
	} {
		for _, text := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %v", name, text), func(t *testing.T) {
				tr := newTracing(t, otel.Config{ErrorText: text})
				k := task(t, tr, c.fn, middleware.Recover())
				_ = k.Process(t.Context(), raw("traceparent", sampled))
				span := tr.one(t, "process in")
				if all := said(span); strings.Contains(all, "secret") != text {
					t.Errorf("the span says %s", all)
				}
				if span.Status.Code != codes.Error || !text && !strings.HasPrefix(span.Status.Description, c.describe) {
					t.Errorf("status %+v", span.Status)
				}
				if got := attr(span, "error.type"); got != c.kind {
					t.Errorf("error.type %s, want %s", got, c.kind)
				}
				if name != "panic" && attr(span, otel.StageKey) != "check" || attr(span, otel.ClassKey) != c.class {
					t.Errorf("attributes %v", span.Attributes)
				}
				event := map[attribute.Key]string{}
				for _, e := range span.Events {
					for _, kv := range e.Attributes {
						event[kv.Key] = kv.Value.AsString()
					}
				}
				if len(span.Events) != 1 || span.Events[0].Name != "exception" || event["exception.type"] == "" || event["exception.message"] == "" {
					t.Errorf("events %v", span.Events)
				}
			})
		}
	}
}

// What Kafka or Leat say of an output is no user's, and said; an encoder's error is.
func TestTextsOfSends(t *testing.T) {
	for _, c := range []struct {
		err             error
		class, describe string
	}{
		{&kafka.DeliveryError{Topic: "out", Class: kafka.RecordFault, Err: fmt.Errorf("%w: %w", kafka.ErrEncode, errors.New("secret"))}, "the record's", "cannot be encoded"},
		{&kafka.DeliveryError{Topic: "out", Class: kafka.Retriable, Err: kafka.ErrDeliveryTimeout}, "retriable", kafka.ErrDeliveryTimeout.Error()},
		{&kafka.DeliveryError{Topic: "out", Class: kafka.Retriable, Err: fmt.Errorf("secret: %w", sarama.ErrNotEnoughReplicas)}, "retriable", sarama.ErrNotEnoughReplicas.Error()},
		{&kafka.DeliveryError{Topic: "out", Class: kafka.Abortable, Err: kafka.ErrAborted}, "abortable", kafka.ErrAborted.Error()},
	} {
		tr := newTracing(t, otel.Config{})
		i := tr.Interceptor(copying(tr, "in", "out"))
		i.OnAcknowledgementHeaders(kafka.Result{Topic: "out", Partition: -1, Offset: -1}, sent(t, i), c.err)
		span := tr.one(t, "send out")
		if span.Status.Description != c.describe || attr(span, otel.ClassKey) != c.class || strings.Contains(said(span), "secret") {
			t.Errorf("%v: %s", c.err, said(span))
		}
	}
}
