//go:build real

package serde_test

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/testpb"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

func realBrokers(t *testing.T) []string {
	t.Helper()
	brokers := os.Getenv("LEAT_TEST_BROKERS")
	if brokers == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real sets it")
	}
	return strings.Split(brokers, ",")
}

// A schema that may not follow the output's earlier one ends the pipeline before anything is
// consumed, with the reasons, whether it is found out by asking or by registering.
func TestRealRefusedBeforeAnythingIsConsumed(t *testing.T) {
	type count struct {
		A int64 `avro:"a" json:"a"`
	}
	asked := []serde.Option{serde.CheckCompatibility()}
	lookUp := []serde.Option{serde.CheckCompatibility(), serde.AutoRegister(false)}
	avro := registry.Schema{Text: `{"type":"record","name":"count","fields":[{"name":"b","type":"string"}]}`}
	json := registry.Schema{Type: registry.JSON, Text: `{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}`}
	protobuf := registry.Schema{Type: registry.Protobuf, Text: `syntax = "proto3"; package leat.test; message Header { int64 source = 1; }`}
	alone := serde.Schema(`syntax = "proto3"; package leat.test; message Header { string source = 1; }`)
	ofAvro := func(topic string, opts ...serde.Option) runner {
		return refusing(func(r *registry.Client) serde.Serde[count] { return serde.Avro[count](r, opts...) }, count{1}, topic)
	}
	ofJSON := func(topic string, opts ...serde.Option) runner {
		return refusing(func(r *registry.Client) serde.Serde[count] { return serde.JSONSchema[count](r, opts...) }, count{1}, topic)
	}
	ofProtobuf := func(topic string, opts ...serde.Option) runner {
		return refusing(func(r *registry.Client) serde.Serde[*testpb.Header] {
			return serde.Protobuf[*testpb.Header](r, append(opts, alone)...)
		}, &testpb.Header{}, topic)
	}
	for name, tt := range map[string]struct {
		earlier registry.Schema
		run     func(topic string, opts ...serde.Option) runner
		opts    []serde.Option
		reason  string
	}{
		"Avro, registering":        {avro, ofAvro, nil, "a at /fields/0"},
		"Avro, asking":             {avro, ofAvro, asked, "BACKWARD"},
		"Avro, asking only":        {avro, ofAvro, lookUp, "BACKWARD"},
		"JSON Schema, registering": {json, ofJSON, nil, "/properties/a"},
		"JSON Schema, asking":      {json, ofJSON, asked, "BACKWARD"},
		"Protobuf, registering":    {protobuf, ofProtobuf, nil, "not backward compatible"},
		"Protobuf, asking":         {protobuf, ofProtobuf, asked, "BACKWARD"},
	} {
		t.Run(name, func(t *testing.T) {
			url, topic := realRegistry(t)
			_, err := newClient(t, url).Register(t.Context(), topic+"-value", tt.earlier)
			check(t, err)
			brokers := realBrokers(t)
			k := checktest.Dial(t, brokers)
			k.CreateTopic(topic+"-in", 1, nil)
			k.CreateTopic(topic, 1, nil)
			k.Produce(&kgo.Record{Topic: topic + "-in", Value: []byte("x")})

			consumed, err := tt.run(topic, tt.opts...)(t, brokers, newClient(t, url))
			wantIs(t, err, registry.ErrIncompatible)
			wantClass(t, err, "fatal")
			var refused *registry.Error
			if !errors.As(err, &refused) || len(refused.Reasons) == 0 || !strings.Contains(strings.Join(refused.Reasons, " "), tt.reason) {
				t.Errorf("%v, reasons %q, want %q", err, refused.Reasons, tt.reason)
			}
			if at := k.Committed(topic, topic+"-in"); consumed != 0 || len(at) != 0 || k.Members(topic) != 0 {
				t.Errorf("%d records consumed, positions %v committed, %d members", consumed, at, k.Members(topic))
			}
			if out := k.ReadAll(topic); len(out) != 0 {
				t.Errorf("%d records written", len(out))
			}
		})
	}
}

type runner func(t *testing.T, brokers []string, reg *registry.Client) (consumed int64, err error)

// refusing runs a pipeline from <topic>-in to topic and counts what it consumes.
func refusing[T any](make func(*registry.Client) serde.Serde[T], v T, topic string) runner {
	return func(t *testing.T, brokers []string, reg *registry.Client) (int64, error) {
		var consumed atomic.Int64
		p := pipeline.New(topic, pipeline.DeadLetter(topic))
		in := pipeline.From(p, topic+"-in", serde.Bytes())
		values := stages.Map(in, "count", func([]byte) (T, error) { consumed.Add(1); return v, nil })
		pipeline.To(values, topic, make(reg))
		err := kafka.Run(t.Context(), p, kafka.Config{Brokers: brokers, Group: topic, UntilEnd: true, Logger: slog.New(slog.DiscardHandler)})
		return consumed.Load(), err
	}
}
