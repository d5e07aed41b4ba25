package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/bufbuild/protocompile"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

const (
	catMoney = `{"type":"record","name":"Money","namespace":"n","fields":[{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}`
	catAvro  = `{"type":"record","name":"Order","namespace":"n","fields":[
	{"name":"z","type":"string"},
	{"name":"price","type":"n.Money"},
	{"name":"raw","type":"bytes"},
	{"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"local","type":{"type":"long","logicalType":"local-timestamp-micros"}},
	{"name":"day","type":{"type":"int","logicalType":"date"}},
	{"name":"time","type":{"type":"int","logicalType":"time-millis"}},
	{"name":"span","type":{"type":"fixed","name":"Span","size":12,"logicalType":"duration"}},
	{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID"]}},
	{"name":"old","type":["null","Status","n.Money","long"]},
	{"name":"other","type":["null",{"type":"map","values":"n.Money"},{"type":"array","items":["null","Order"]}],"default":null},
	{"name":"none","type":["null","string"]},
	{"name":"big","type":"long"},
	{"name":"share","type":"double"},
	{"name":"counts","type":{"type":"map","values":"long"}}]}`
	catProto = `syntax = "proto3";
package n;
import "google/protobuf/any.proto";
import "google/protobuf/timestamp.proto";
message First { string name = 1; }
message Order {
  string order_id = 1;
  int64 cents = 2;
  bytes raw = 3;
  google.protobuf.Timestamp at = 4;
  google.protobuf.Any extra = 5;
  map<string, int32> counts = 6;
  message Line { string article = 1; }
  repeated Line lines = 7;
}`
	catJSONSchema = `{"type":"object","properties":{"id":{"type":"integer"},"name":{"type":"string"}}}`
)

// formatWriter writes records of every format into a topic of one partition.
type formatWriter struct {
	t     *testing.T
	to    *checktest.Client
	reg   *registry.Client
	topic string
	n     int
	want  []string // lines
}

func (w *formatWriter) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// id is that of a subject's schema.
func (w *formatWriter) id(subject string) int {
	w.t.Helper()
	got, err := w.reg.Latest(w.t.Context(), subject)
	w.check(err)
	return got.ID
}

// put writes a record and notes the line that is to be printed of it, without what is
// the same in all.
func (w *formatWriter) put(key, value []byte, line string, headers ...kgo.RecordHeader) {
	w.t.Helper()
	at := time.UnixMilli(1_700_000_000_123 + int64(w.n)).UTC()
	w.to.Produce(&kgo.Record{Topic: w.topic, Key: key, Value: value, Headers: headers, Timestamp: at})
	if !strings.Contains(line, `"headers":`) {
		rest := ""
		if i := strings.Index(line, `,"error":`); i >= 0 {
			line, rest = line[:i], line[i:]
		}
		line += `,"headers":[]` + rest
	}
	w.want = append(w.want, fmt.Sprintf(`{"topic":"%s","partition":0,"offset":%d,"timestamp":"%s",%s}`, w.topic, w.n, at.Format("2006-01-02T15:04:05.000Z"), line))
	w.n++
}

// formatEncode is what a serde makes of a value, with the headers it sets.
func formatEncode[T any](w *formatWriter, s serde.Serde[T], key bool, v T) ([]byte, []kgo.RecordHeader) {
	w.t.Helper()
	headers := pipeline.Headers{}
	data, err := s.Append(w.t.Context(), []byte{}, pipeline.Slot{Topic: w.topic, Key: key, Headers: &headers}, v)
	w.check(err)
	var out []kgo.RecordHeader
	for _, h := range headers {
		out = append(out, kgo.RecordHeader{Key: h.Key, Value: h.Value})
	}
	return data, out
}

func (w *formatWriter) avro() serde.Serde[any] {
	ref := registry.Reference{Name: "n.Money", Subject: w.topic + "-money", Text: catMoney}
	return serde.AvroAny(w.reg, serde.Schema(catAvro), serde.References(ref))
}

func avroOrder() map[string]any {
	money := func(cents int64) map[string]any { return map[string]any{"amount": big.NewRat(cents, 100)} }
	at := time.UnixMilli(1_700_000_000_120).UTC()
	return map[string]any{
		"z": "a <b> & \"c\"\n", "price": money(1230), "raw": []byte{0xff, 0}, "at": at, "local": at, "day": time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		"time": 90*time.Minute + time.Millisecond, "span": avro.Duration{Months: 1, Days: 2, Milliseconds: 3000}, "status": "NEW",
		"old": map[string]any{"n.Status": "PAID"}, "other": map[string]any{"map": map[string]any{"b": money(-5), "a": money(0)}},
		"none": nil, "big": int64(math.MaxInt64), "share": math.Inf(-1), "counts": map[string]any{"y": int64(2), "x": int64(1)},
	}
}

const avroOrderJSON = `{"z":"a <b> & \"c\"\n","price":{"amount":"12.30"},"raw":"/wA=","at":"2023-11-14T22:13:20.12Z","local":"2023-11-14T22:13:20.12",` +
	`"day":"2024-02-29","time":"01:30:00.001","span":"P1M2DT3S","status":"NEW","old":"PAID","other":{"a":{"amount":"0.00"},"b":{"amount":"-0.05"}},` +
	`"none":null,"big":9223372036854775807,"share":"-Inf","counts":{"x":1,"y":2}}`

// protoFile is catProto, compiled.
func protoFile(t *testing.T) protoreflect.FileDescriptor {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"n.proto": catProto}),
	})}
	files, err := c.Compile(context.Background(), "n.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

// message makes one of catProto's messages.
func message(t *testing.T, name protoreflect.Name, text string) proto.Message {
	t.Helper()
	file := protoFile(t)
	m := dynamicpb.NewMessage(file.Messages().ByName(name))
	var p messagePrinter
	if _, err := p.print(m); err != nil { // readies its types
		t.Fatal(err)
	}
	if err := (protojson.UnmarshalOptions{Resolver: p.types}).Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	return m
}

const protoOrderJSON = `{"orderId":"o-1","cents":"9007199254740993","raw":"/wA=","at":"2023-11-14T22:13:20.123Z",` +
	`"extra":{"@type":"type.googleapis.com/n.First","name":"x"},"counts":{"a":1},"lines":[{"article":"pen"}]}`

// all writes a record of each kind, as other clients may have written them.
func (w *formatWriter) all() {
	t, topic := w.t, w.topic
	w.put([]byte("k"), []byte("text <&> ünï\n"), `"key":"k","keyFormat":"string","value":"text <&> ünï\n","valueFormat":"string"`)
	w.put(nil, nil, `"key":null,"value":null`)
	w.put([]byte{}, []byte{}, `"key":"","keyFormat":"string","value":"","valueFormat":"string"`)
	w.put([]byte{0, 0, 0, 0, 0, 0, 0, 42}, []byte("caf\xe9"), `"key":"AAAAAAAAACo=","keyFormat":"bytes","value":"Y2Fm6Q==","valueFormat":"bytes"`)
	w.put([]byte("h"), []byte("v"), `"key":"h","keyFormat":"string","value":"v","valueFormat":"string","headers":[{"key":"a","value":"1"},{"key":"a","value":null},{"key":"b","value":"/w==","format":"bytes"}]`,
		kgo.RecordHeader{Key: "a", Value: []byte("1")}, kgo.RecordHeader{Key: "a"}, kgo.RecordHeader{Key: "b", Value: []byte{0xff}})

	// Avro: a key, references, logical types.
	key, _ := formatEncode(w, serde.AvroAny(w.reg, serde.Schema(`"long"`)), true, any(int64(7)))
	value, _ := formatEncode(w, w.avro(), false, any(avroOrder()))
	keyID, avroID := w.id(topic+"-key"), w.id(topic+"-value")
	w.put(key, value, fmt.Sprintf(`"key":7,"keyFormat":"avro","keySchema":%d,"value":%s,"valueFormat":"avro","valueSchema":%d`, keyID, avroOrderJSON, avroID))
	w.put(key, nil, fmt.Sprintf(`"key":7,"keyFormat":"avro","keySchema":%d,"value":null`, keyID))

	// JSON Schema: numbers as they are; order and doubles too; not held against the schema.
	jsonSubject := func(pipeline.Slot, string) string { return topic + "-json" }
	schema := registry.Schema{Type: registry.JSON, Text: catJSONSchema}
	jsonID, err := w.reg.Register(t.Context(), jsonSubject(pipeline.Slot{}, ""), schema)
	w.check(err)
	body := `{ "name":"b<", "id":9007199254740993.10, "more":1e400 }`
	w.put(nil, append(prefixOf(jsonID), body...), fmt.Sprintf(`"key":null,"value":{"name":"b<","id":9007199254740993.10,"more":1e400},"valueFormat":"jsonschema","valueSchema":%d`, jsonID))

	// Protobuf: the second message, with an Any.
	protoSubject := func(pipeline.Slot, string) string { return topic + "-proto" }
	p := serde.ProtobufAny(w.reg, serde.Schema(catProto), serde.Subject(protoSubject))
	value, _ = formatEncode(w, p, false, message(t, "Order", protoOrderJSON))
	protoID := w.id(topic + "-proto")
	w.put([]byte("p"), value, fmt.Sprintf(`"key":"p","keyFormat":"string","value":%s,"valueFormat":"protobuf","valueSchema":%d`, protoOrderJSON, protoID))

	// What cannot be decoded.
	unknown := append(prefixOf(2_000_000_000), "xyz"...)
	w.put(nil, unknown, fmt.Sprintf(`"key":null,"value":"%s","valueFormat":"bytes","valueSchema":2000000000`, base64.StdEncoding.EncodeToString(unknown)))
	cut := append(prefixOf(avroID), 4, 'a')
	w.put(nil, cut, fmt.Sprintf(`"key":null,"value":"%s","valueFormat":"bytes","valueSchema":%d,"error":"value: decode avro (schema id %d): malformed: avro: field z: avro: short buffer for string: need 2, have 1"`, base64.StdEncoding.EncodeToString(cut), avroID, avroID))
	left := append(append([]byte(nil), key...), 0)
	w.put(left, []byte("v"), fmt.Sprintf(`"key":"%s","keyFormat":"bytes","keySchema":%d,"value":"v","valueFormat":"string","error":"key: decode avro (schema id %d): bytes are left over after the value: 1 of them"`, base64.StdEncoding.EncodeToString(left), keyID, keyID))
	noJSON := append(prefixOf(jsonID), `{"a":`...)
	w.put(nil, noJSON, fmt.Sprintf(`"key":null,"value":"%s","valueFormat":"bytes","valueSchema":%d,"error":"value: decode jsonschema (schema id %d): malformed: syntax, at byte 5"`, base64.StdEncoding.EncodeToString(noJSON), jsonID, jsonID))
	place := append(prefixOf(protoID), 2, 8)
	w.put(nil, place, fmt.Sprintf(`"key":null,"value":"%s","valueFormat":"bytes","valueSchema":%d,"error":"value: decode protobuf (schema id %d): malformed: the schema has no message at the place named"`, base64.StdEncoding.EncodeToString(place), protoID, protoID))
}

func prefixOf(id int) []byte {
	return []byte{0, byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}
}
