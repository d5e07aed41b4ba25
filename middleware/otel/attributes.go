package otel

import (
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

const schemaURL = semconv.SchemaURL

// OutcomeKey is the attribute of a transaction's span that says how it ended:
// committed, aborted or unknown.
const OutcomeKey = attribute.Key("leat.transaction.outcome")

func (t *Tracer) processAttributes(topic string) []attribute.KeyValue {
	return t.withGroup([]attribute.KeyValue{
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
		semconv.MessagingDestinationName(topic),
	})
}

func sendAttributes(topic string) []attribute.KeyValue {
	return []attribute.KeyValue{
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send"),
		semconv.MessagingDestinationName(topic),
	}
}

// commitAttributes name the topic if it is one: a commit covers all inputs.
func (t *Tracer) commitAttributes(inputs []string) []attribute.KeyValue {
	kv := []attribute.KeyValue{
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeSettle, semconv.MessagingOperationName("commit"),
	}
	if len(inputs) == 1 {
		kv = append(kv, semconv.MessagingDestinationName(inputs[0]))
	}
	return t.withGroup(kv)
}

func (t *Tracer) withGroup(kv []attribute.KeyValue) []attribute.KeyValue {
	if t.cfg.Group == "" {
		return kv
	}
	return append(kv, semconv.MessagingConsumerGroupName(t.cfg.Group))
}

func partitionID(n int32) attribute.KeyValue {
	return semconv.MessagingDestinationPartitionID(strconv.Itoa(int(n)))
}

func offset(n int64) attribute.KeyValue { return semconv.MessagingKafkaOffsetKey.Int64(n) }
