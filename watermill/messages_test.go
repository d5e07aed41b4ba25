package watermill_test

import (
	"context"
	"strings"
	"testing"

	"github.com/IBM/sarama"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/watermill"
)

func headersOf(pairs ...string) (h pipeline.Headers) {
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		h = append(h, pipeline.Header{Key: k, Value: []byte(v)})
	}
	return h
}

func textOf(h pipeline.Headers) string {
	var all []string
	for _, x := range h {
		all = append(all, x.Key+"="+string(x.Value))
	}
	return strings.Join(all, " ")
}

const id = watermill.UUIDHeaderKey + "=id"

// Which headers a message is written with, by those that its record has.
func TestMessagesWriteHeaders(t *testing.T) {
	for name, test := range map[string]struct {
		have     pipeline.Headers
		metadata message.Metadata
		want     string
	}{
		"none":                 {nil, nil, id},
		"new metadata, sorted": {nil, message.Metadata{"b": "2", "a": "1"}, id + " a=1 b=2"},
		"duplicates survive":   {headersOf("a=1", "b=x", "a=2"), message.Metadata{"a": "2"}, id + " a=1 b=x a=2"},
		"changed":              {headersOf("a=1", "b=x", "a=2"), message.Metadata{"a": "1"}, id + " b=x a=1"},
		"all there":            {headersOf(id, "a=1"), message.Metadata{"a": "1"}, id + " a=1"},
		"two UUIDs":            {headersOf(watermill.UUIDHeaderKey+"=id", "a=1", watermill.UUIDHeaderKey+"=other"), nil, id + " a=1"},
		"another's UUID":       {headersOf(watermill.UUIDHeaderKey+"=other", "a=1"), nil, id + " a=1"},
	} {
		t.Run(name, func(t *testing.T) {
			h := test.have
			msg := message.NewMessage("id", []byte("p"))
			msg.Metadata = test.metadata
			value, err := watermill.Messages().Append(t.Context(), []byte("before "), pipeline.Slot{Topic: "t", Headers: &h}, msg)
			noError(t, err, "append")
			if string(value) != "before p" || textOf(h) != test.want {
				t.Errorf("%s with headers %s, want %s", value, textOf(h), test.want)
			}
		})
	}
}

// What watermill-kafka's marshaler has written is read, and the other way round.
func TestMessagesAreWatermillKafkas(t *testing.T) {
	for _, payload := range [][]byte{[]byte("p"), {}, nil} {
		msg := message.NewMessage("id", payload)
		msg.Metadata.Set("a", "1")
		var m watermill.DefaultMarshaler
		record, err := m.Marshal("t", msg)
		noError(t, err, "marshal")
		value, err := record.Value.Encode()
		noError(t, err, "encode")
		var h pipeline.Headers
		for _, x := range record.Headers {
			h = append(h, pipeline.Header{Key: string(x.Key), Value: x.Value})
		}
		got, err := watermill.Messages().Decode(t.Context(), pipeline.Slot{Headers: &h}, value)
		noError(t, err, "decode")
		if !got.Equals(msg) || (got.Payload == nil) != (payload == nil) {
			t.Errorf("read %+v, want %+v", got, msg)
		}
		h = nil
		value, err = watermill.Messages().Append(t.Context(), []byte{}, pipeline.Slot{Headers: &h}, got)
		noError(t, err, "append")
		in := &sarama.ConsumerMessage{Value: value}
		for _, x := range h {
			in.Headers = append(in.Headers, &sarama.RecordHeader{Key: []byte(x.Key), Value: x.Value})
		}
		back, err := m.Unmarshal(in)
		noError(t, err, "unmarshal")
		if !back.Equals(msg) || (back.Payload == nil) != (payload == nil) {
			t.Errorf("came back as %+v, want %+v", back, msg)
		}
	}
}

func TestMessagesRefuse(t *testing.T) {
	reserved := message.NewMessage("id", nil)
	reserved.Metadata.Set(watermill.UUIDHeaderKey, "x")
	for _, msg := range []*message.Message{nil, reserved} {
		if _, err := watermill.Messages().Append(context.Background(), nil, pipeline.Slot{Headers: new(pipeline.Headers)}, msg); err == nil {
			t.Errorf("%+v was written", msg)
		}
	}
}
