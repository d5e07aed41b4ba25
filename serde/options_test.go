package serde_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/testpb"
	"github.com/leat-stream/leat/serde/registry"
)

// The header form: the GUID in a header of the key or the value, the bytes without a
// prefix; and every reader takes both forms.
func TestInHeader(t *testing.T) {
	_, reg := newFake(t)
	headerForm(t, "avro", func(o ...serde.Option) serde.Serde[Order] {
		return serde.Avro[Order](reg, append(o, serde.Schema(orderAvsc))...)
	}, orders()[0], orderEqual, 17)
	headerForm(t, "jsonschema", func(o ...serde.Option) serde.Serde[Order] {
		return serde.JSONSchema[Order](reg, append(o, serde.Schema(orderJSONSchema))...)
	}, orders()[0], orderEqual, 17)
	headerForm(t, "protobuf", func(o ...serde.Option) serde.Serde[*testpb.Order] {
		return serde.Protobuf[*testpb.Order](reg, o...)
	}, protoOrders()[0], sameMessage[*testpb.Order], 19) // with the message's place
	headerForm(t, "protobuf, any", func(o ...serde.Option) serde.Serde[proto.Message] {
		return serde.ProtobufAny(reg, append(o, serde.Schema(`syntax = "proto3"; package leat.test; message Header { string source = 1; }`))...)
	}, proto.Message(&testpb.Header{Source: "s"}), func(a, b proto.Message) bool { return fmt.Sprint(a) == fmt.Sprint(b) }, 18)
}

func headerForm[T any](t *testing.T, name string, of func(...serde.Option) serde.Serde[T], v T, equal func(a, b T) bool, size int) {
	t.Run(name, func(t *testing.T) {
		in := of(serde.InHeader())
		plain := of()
		for _, key := range []bool{false, true} {
			headers := pipeline.Headers{{Key: serde.HeaderKeySchemaID, Value: []byte("old")}, {Key: serde.HeaderValueSchemaID, Value: []byte("old")}}
			at := pipeline.Slot{Topic: "t-" + strings.ReplaceAll(name, ", ", ""), Key: key, Headers: &headers}
			data, err := in.Append(t.Context(), []byte{}, at, v)
			check(t, err)
			prefixed, err := plain.Append(t.Context(), []byte{}, pipeline.Slot{Topic: at.Topic, Key: key}, v)
			check(t, err)
			if !strings.HasSuffix(string(prefixed), string(data)) || len(prefixed) != len(data)+5+size-17 {
				t.Errorf("the body is % x, with a prefix % x", data, prefixed)
			}
			mine, other := serde.HeaderValueSchemaID, serde.HeaderKeySchemaID
			if key {
				mine, other = other, mine
			}
			if h, _ := headers.Get(mine); len(h) != size || h[0] != 1 {
				t.Errorf("the header is % x", h)
			}
			if h, _ := headers.Get(other); string(h) != "old" {
				t.Errorf("the other header is % x", h)
			}
			for _, s := range []serde.Serde[T]{in, plain} {
				got, err := s.Decode(t.Context(), at, data)
				check(t, err)
				if !equal(got, v) {
					t.Errorf("got %v", got)
				}
				none := pipeline.Headers{}
				got, err = s.Decode(t.Context(), pipeline.Slot{Topic: at.Topic, Key: key, Headers: &none}, prefixed)
				check(t, err)
				if !equal(got, v) {
					t.Errorf("got %v", got)
				}
			}
			for bad, kind := range map[string]error{
				"":                               serde.ErrEmpty,
				"\x01abc":                        serde.ErrNotFramed,
				"\x02" + strings.Repeat("x", 16): serde.ErrNotFramed,
				"\x01" + strings.Repeat("x", 16): serde.ErrUnknownSchema,
			} {
				headers = headers.Set(mine, []byte(bad))
				_, err = plain.Decode(t.Context(), at, data)
				wantIs(t, err, kind)
				wantClass(t, err, "the record's")
			}
		}
		_, err := in.Append(t.Context(), []byte{}, pipeline.Slot{Topic: "t"}, v)
		wantIs(t, err, serde.ErrInvalid)
		wantClass(t, err, "fatal")
	})
}

// Bytes after what a header names are left over.
func TestInHeaderLeftOver(t *testing.T) {
	_, reg := newFake(t)
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.InHeader())
	headers := pipeline.Headers{}
	at := pipeline.Slot{Topic: "t", Headers: &headers}
	data, err := s.Append(t.Context(), []byte{}, at, orders()[0])
	check(t, err)
	h, _ := headers.Get(serde.HeaderValueSchemaID)
	headers = headers.Set(serde.HeaderValueSchemaID, append(h[:len(h):len(h)], 0))
	_, err = s.Decode(t.Context(), at, data)
	wantIs(t, err, serde.ErrTrailing)
}

func TestSubjects(t *testing.T) {
	_, reg := newFake(t)
	own := func(at pipeline.Slot, record string) string { return "own." + at.Topic + "." + record }
	for name, subject := range map[string]serde.SubjectName{
		"orders-value": serde.TopicName, "com.acme.Order": serde.RecordName, "orders-com.acme.Order": serde.TopicRecordName, "own.orders.com.acme.Order": own,
	} {
		avsc := strings.Replace(orderAvsc, `"name":"Order"`, `"name":"Order","namespace":"com.acme"`, 1)
		s := serde.Avro[Order](reg, serde.Schema(avsc), serde.Subject(subject))
		_ = encode(t, s, "orders", orders()[0])
		if _, err := reg.Latest(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_ = encode(t, serde.Protobuf[*testpb.Order](reg, serde.Subject(serde.RecordName)), "orders", protoOrders()[0])
	if _, err := reg.Latest(t.Context(), "leat.test.Order"); err != nil {
		t.Error(err)
	}
	nameless := serde.Avro[string](reg, serde.Schema(`"string"`), serde.Subject(serde.TopicRecordName))
	_, err := nameless.Append(t.Context(), []byte{}, value("orders"), "x")
	wantIs(t, err, serde.ErrInvalid)
	wantClass(t, err, "fatal")
}

// A writer may use the registry's schema in place of its own.
func TestUseLatestAndID(t *testing.T) {
	_, reg := newFake(t)
	type v1 struct {
		A int64 `avro:"a"`
	}
	type v2 struct {
		A int64  `avro:"a"`
		B string `avro:"b"`
	}
	one := `{"type":"record","name":"R","fields":[{"name":"a","type":"long"}]}`
	two := `{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"string","default":"?"}]}`
	first, err := reg.Register(t.Context(), "t-value", registry.Schema{Text: one})
	check(t, err)
	second, err := reg.Register(t.Context(), "t-value", registry.Schema{Text: two})
	check(t, err)
	latest := serde.Avro[v2](reg, serde.Schema(one), serde.Codec(serde.Twmb{SkipUnknown: true}), serde.UseLatest())
	if b := encode(t, latest, "t", v2{1, "x"}); int(b[4]) != second || len(b) != 8 {
		t.Errorf("latest: % x", b)
	}
	byID := serde.Avro[v1](reg, serde.Schema(one), serde.UseID(first))
	if b := encode(t, byID, "t", v1{1}); int(b[4]) != first {
		t.Errorf("by id: % x", b)
	}
	for _, s := range []serde.Serde[v1]{
		serde.Avro[v1](reg, serde.Schema(one), serde.UseID(99)), serde.Avro[v1](reg, serde.Schema(one), serde.AutoRegister(false), serde.Subject(serde.RecordName)),
	} {
		_, err := s.Append(t.Context(), []byte{}, value("t"), v1{1})
		wantIs(t, err, registry.ErrNotFound)
		wantClass(t, err, "fatal")
	}
	_, err = serde.Avro[v1](reg, serde.Schema(one), serde.UseLatest()).Append(t.Context(), []byte{}, value("nobody"), v1{1})
	wantIs(t, err, registry.ErrNotFound)
	wantClass(t, err, "fatal")
}

func TestAvroAny(t *testing.T) {
	_, reg := newFake(t)
	o := orders()[0]
	data := encode(t, serde.Avro[Order](reg, serde.Schema(orderAvsc)), "orders", o)
	got, err := serde.AvroAny(reg).Decode(t.Context(), value("orders"), data)
	check(t, err)
	m, ok := got.(map[string]any)
	if !ok || m["order_id"] != o.OrderID || m["amount_cents"] != o.Amount || m["status"] != string(o.Status) || !reflect.DeepEqual(m["tags"], []any{"a", secret}) {
		t.Fatalf("got %#v", got)
	}
	again := encode(t, serde.AvroAny(reg, serde.UseLatest()), "orders", got)
	if string(again) != string(data) {
		t.Errorf("% x, want % x", again, data)
	}
	narrow := serde.AvroAny(reg, serde.Schema(`{"type":"record","name":"Order","fields":[{"name":"amount_cents","type":"double"}]}`))
	got, err = narrow.Decode(t.Context(), value("orders"), data)
	check(t, err)
	if !reflect.DeepEqual(got, map[string]any{"amount_cents": float64(o.Amount)}) {
		t.Errorf("got %#v", got)
	}
	_, err = serde.AvroAny(reg).Append(t.Context(), []byte{}, value("orders"), got)
	wantIs(t, err, serde.ErrInvalid)
}

// Named types of Avro may stand in schemas of their own.
func TestAvroReferencesOfOnesOwn(t *testing.T) {
	_, reg := newFake(t)
	type money struct {
		Cents int64 `avro:"cents"`
	}
	type invoice struct {
		Total money `avro:"total"`
	}
	ref := registry.Reference{Name: "acme.Money", Subject: "acme.Money", Text: `{"type":"record","name":"Money","namespace":"acme","fields":[{"name":"cents","type":"long"}]}`}
	root := `{"type":"record","name":"Invoice","fields":[{"name":"total","type":"acme.Money"}]}`
	s := serde.Avro[invoice](reg, serde.Schema(root), serde.References(ref))
	data := encode(t, s, "invoices", invoice{money{7}})
	reader := serde.Avro[invoice](newClient(t, reg.URLs()[0]), serde.Schema(root), serde.References(ref))
	got, err := reader.Decode(t.Context(), value("invoices"), data)
	check(t, err)
	if got.Total.Cents != 7 {
		t.Errorf("got %+v", got)
	}
	if _, err := reg.Latest(t.Context(), "acme.Money"); err != nil {
		t.Error(err)
	}
	lookUp := serde.Avro[invoice](reg, serde.Schema(root), serde.References(ref), serde.AutoRegister(false))
	if again := encode(t, lookUp, "invoices", invoice{money{7}}); string(again) != string(data) {
		t.Errorf("looked up: % x", again)
	}
	if err := serde.Avro[invoice](reg, serde.Schema(root)).(serde.Validator).Validate(); !errors.Is(err, serde.ErrInvalid) {
		t.Errorf("without the reference: %v", err)
	}
}
