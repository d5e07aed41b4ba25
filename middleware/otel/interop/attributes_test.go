package interop

import (
	"maps"
	"strings"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

func plain(v *commonpb.AnyValue) any {
	switch v := v.Value.(type) {
	case *commonpb.AnyValue_StringValue:
		return v.StringValue
	case *commonpb.AnyValue_IntValue:
		return v.IntValue
	case *commonpb.AnyValue_BoolValue:
		return v.BoolValue
	}
	return v
}

// kinds are those that the conventions for messaging have for each type of operation.
var kinds = map[any]tracepb.Span_SpanKind{
	"send": tracepb.Span_SPAN_KIND_PRODUCER, "process": tracepb.Span_SPAN_KIND_CONSUMER, "settle": tracepb.Span_SPAN_KIND_CLIENT,
}

// conforms holds the messaging spans of Leat against the conventions: what they require
// of every span, what under conditions that hold here, and their names and kinds.
func conforms(t testing.TB, all spans, group map[string]string) {
	t.Helper()
	for _, s := range all {
		if s.scope != "github.com/leat-stream/leat/middleware/otel" {
			continue
		}
		if s.schema != "https://opentelemetry.io/schemas/1.43.0" {
			t.Errorf("%s: schema %s", s.Name, s.schema)
		}
		has := attributes(s)
		failed := s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR
		if _, typed := has["error.type"]; typed != failed {
			t.Errorf("%s: status %v, error.type %v", s.Name, s.Status, has["error.type"])
		}
		if s.StartTimeUnixNano > s.EndTimeUnixNano {
			t.Errorf("%s ends before it begins", s.Name)
		}
		operation, topic, _ := strings.Cut(s.Name, " ")
		want := map[string]any{"messaging.system": "kafka"}
		switch operation {
		case "lookup":
			continue
		case "transaction":
			if n, _ := has["messaging.batch.message_count"].(int64); n < 1 || s.Kind != tracepb.Span_SPAN_KIND_INTERNAL {
				t.Errorf("%s: kind %v, %d messages", s.Name, s.Kind, n)
			}
		case "commit":
			want["messaging.operation.type"] = "settle"
		default:
			want["messaging.operation.type"] = operation
			if !failed {
				want["messaging.destination.partition.id"] = "0"
			}
			if _, ok := has["messaging.kafka.offset"].(int64); !ok && !failed {
				t.Errorf("%s has no offset", s.Name)
			}
		}
		if operation != "transaction" {
			want["messaging.operation.name"], want["messaging.destination.name"] = operation, topic
			if s.Kind != kinds[has["messaging.operation.type"]] {
				t.Errorf("%s: kind %v", s.Name, s.Kind)
			}
		}
		if operation == "process" || operation == "commit" {
			want["messaging.consumer.group.name"] = group[s.service]
		}
		for k, v := range maps.All(want) {
			if has[k] != v {
				t.Errorf("%s: %s is %v, want %v", s.Name, k, has[k], v)
			}
		}
	}
}
