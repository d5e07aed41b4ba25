package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/pipeline"
)

// conventions are the metrics of OpenTelemetry's conventions for messaging that a pipeline
// can fill honestly:
//
//   - messaging.client.consumed.messages: what was given to the chains, by topic;
//   - messaging.client.sent.messages: outcomes of the producer, of all topics together,
//     since it does not count by topic; error.type is _OTHER, since it does not by cause;
//   - messaging.process.duration, by topic, without error.type;
//   - messaging.client.operation.duration of commits. Not of sends and polls: records are
//     sent in batches long after To, and fetched ahead of what is processed.
//
// They have the pipeline's name as an attribute more.
type conventions struct {
	consumed      messagingconv.ClientConsumedMessagesObservable
	sent          messagingconv.ClientSentMessagesObservable
	processTime   messagingconv.ProcessDuration
	operationTime messagingconv.ClientOperationDuration
}

// make makes the instruments and returns those that are read. The conventions' boundaries
// begin at 5 ms, above all that most chains take; ours are finer.
func (c *conventions) make(meter metric.Meter) (read []metric.Observable, err error) {
	var bad [4]error
	c.consumed, bad[0] = messagingconv.NewClientConsumedMessagesObservable(meter)
	c.sent, bad[1] = messagingconv.NewClientSentMessagesObservable(meter)
	c.processTime, bad[2] = messagingconv.NewProcessDuration(meter, metric.WithExplicitBucketBoundaries(instruments.RecordDuration.Bounds...))
	c.operationTime, bad[3] = messagingconv.NewClientOperationDuration(meter, metric.WithExplicitBucketBoundaries(instruments.TransactionCommitting.Bounds...))
	return []metric.Observable{c.consumed.Inst(), c.sent.Inst()}, errors.Join(bad[:]...)
}

// observeConventional observes what is the same by the conventions' names.
func (m *Meter) observeConventional(o metric.Observer, i *instruments.Instrument, p *instruments.Point) {
	name := attribute.String(instruments.Pipeline, p.Labels[0])
	switch i {
	case instruments.StageIn:
		if topic, kind := p.Labels[1], p.Labels[2]; kind == "input" {
			o.ObserveInt64(m.consumed.Inst(), int64(p.Value), metric.WithAttributes(m.withGroup(
				name, semconv.MessagingSystemKafka, semconv.MessagingOperationName("poll"), semconv.MessagingDestinationName(topic),
			)...))
		}
	case instruments.ProducerAcked:
		o.ObserveInt64(m.sent.Inst(), int64(p.Value), metric.WithAttributes(name, semconv.MessagingSystemKafka, semconv.MessagingOperationName("send")))
	case instruments.ProducerFailed:
		o.ObserveInt64(m.sent.Inst(), int64(p.Value), metric.WithAttributes(
			name, semconv.MessagingSystemKafka, semconv.MessagingOperationName("send"), semconv.ErrorTypeOther))
	}
}

func (m *Meter) processAttributes(name attribute.KeyValue, topic string) []attribute.KeyValue {
	return m.withGroup(name, semconv.MessagingSystemKafka, semconv.MessagingOperationName("process"), semconv.MessagingDestinationName(topic))
}

func (m *Meter) recordCommit(ctx context.Context, name string, t pipeline.TransactionEnd) {
	if t.Committing == 0 { // it did not come so far
		return
	}
	kv := m.withGroup(
		attribute.String(instruments.Pipeline, name), semconv.MessagingSystemKafka, semconv.MessagingOperationName("commit"), semconv.MessagingOperationTypeSettle,
	)
	if t.Outcome != pipeline.Committed {
		kv = append(kv, semconv.ErrorTypeKey.String(t.Outcome.String()))
	}
	m.operationTime.Inst().Record(ctx, t.Committing.Seconds(), metric.WithAttributes(kv...))
}

func (m *Meter) withGroup(kv ...attribute.KeyValue) []attribute.KeyValue {
	if m.cfg.Group == "" {
		return kv
	}
	return append(kv, semconv.MessagingConsumerGroupName(m.cfg.Group))
}
