package serde_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/internal/testpb"
	"github.com/leat-stream/leat/serde/internal/testpb/common"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/serde/serdetest"
)

func protoOrders() []*testpb.Order {
	return []*testpb.Order{
		{
			OrderId: "eu-west:1", Price: &common.Money{Cents: 1999, Currency: "EUR"}, Status: testpb.Status_STATUS_PAID,
			CreatedAt: timestamppb.New(time.UnixMilli(1_700_000_000_123)), Tags: []string{"a", secret}, Counts: map[string]int64{"x": -1},
			Payment: &testpb.Order_Account{Account: 7}, Note: proto.String(secret),
			Lines: []*testpb.Order_Line{{Article: "pen", Count: 3, Discount: &testpb.Order_Line_Discount{Share: .5}}},
		},
		{},
	}
}

func sameMessage[T proto.Message](a, b T) bool { return proto.Equal(a, b) }

func TestProtobufConformance(t *testing.T) {
	for name, opts := range map[string][]serde.Option{"text": nil, "descriptor": {serde.AsDescriptor()}} {
		t.Run(name, func(t *testing.T) {
			_, reg := newFake(t)
			serdetest.Suite[*testpb.Order]{
				Serde: serde.Protobuf[*testpb.Order](reg, opts...), Values: protoOrders(), Equal: sameMessage[*testpb.Order], Secret: secret,
				Reject: append(badFrames(),
					[]byte{0, 0, 0, 0, 2},                      // no place
					[]byte{0, 0, 0, 0, 2, 0},                   // the first message, which is a Header
					[]byte{0, 0, 0, 0, 2, 2, 8},                // no such message
					[]byte{0, 0, 0, 0, 2, 4, 2, 0},             // a Line
					[]byte{0, 0, 0, 0, 2, 1, 0},                // -1 indexes
					[]byte{0, 0, 0, 0, 2, 2, 1},                // index -1
					[]byte{0, 0, 0, 0, 2, 0xff, 0xff, 0x7f, 0}, // too many of them
					[]byte{0, 0, 0, 0, 2, 2},                   // cut off
					[]byte("\x00\x00\x00\x00\x02\x02\x02\x0a\x0es3cr3t-c4nary"[:16]),
					[]byte("\x00\x00\x00\x00\x02\x02\x02\x0a\x02\xff\xff"), // not UTF-8
					[]byte("\x00\x00\x00\x00\x02\x02\x02\x07"),             // no such wire type
				),
			}.Run(t)
		})
	}
}

// What the registry is given can be compiled by itself: text as well as a descriptor.
func TestProtobufSchemas(t *testing.T) {
	for name, opts := range map[string][]serde.Option{"text": nil, "descriptor": {serde.AsDescriptor()}} {
		_, reg := newFake(t)
		s := serde.Protobuf[*testpb.Order](reg, opts...)
		data := encode(t, s, "orders", protoOrders()[0])
		if data[4] != 2 || data[5] != 2 || data[6] != 2 { // the second schema after common/money.proto, and of it message [1]
			t.Errorf("%s: begins with % x", name, data[:7])
		}
		got, err := reg.Latest(t.Context(), "orders-value")
		check(t, err)
		if got.Type != registry.Protobuf || len(got.References) != 1 || got.References[0].Name != "common/money.proto" || got.References[0].Subject != "common/money.proto" {
			t.Errorf("%s: %+v", name, got)
		}
		_, bad := base64.StdEncoding.DecodeString(got.Text)
		if isText := strings.Contains(got.Text, "message Order {"); isText != (name == "text") || (bad == nil) != (name == "descriptor") {
			t.Errorf("%s: the schema is %q", name, got.Text)
		}
	}
}

// Nested messages, and the first one, have places of their own.
func TestProtobufPlaces(t *testing.T) {
	_, reg := newFake(t)
	first := encode(t, serde.Protobuf[*testpb.Header](reg), "headers", &testpb.Header{Source: "s"})
	if string(first) != "\x00\x00\x00\x00\x02\x00\x0a\x01s" {
		t.Errorf("the first message: % x", first)
	}
	nested := serde.Protobuf[*testpb.Order_Line_Discount](reg)
	data := encode(t, nested, "discounts", &testpb.Order_Line_Discount{Share: 1})
	if string(data[5:9]) != "\x06\x02\x02\x00" { // three indexes: 1, 1, 0; the map's entry is the Order's message 0
		t.Errorf("a nested message: % x", data)
	}
	got, err := nested.Decode(t.Context(), value("discounts"), data)
	check(t, err)
	if got.GetShare() != 1 {
		t.Errorf("got %v", got)
	}
	// One zero may be written out.
	h, err := serde.Protobuf[*testpb.Header](reg).Decode(t.Context(), value("headers"), []byte("\x00\x00\x00\x00\x02\x02\x00\x0a\x01s"))
	check(t, err)
	if h.GetSource() != "s" {
		t.Errorf("got %v", h)
	}
}

// Java's client counts a map's entry only if it does not normalize: where an entry, or nothing,
// is named, its count is meant.
func TestProtobufPlacesWithoutEntries(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("theirs", 1, 9, sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3"; package leat.test; message Header {} message Order {
		map<string, string> a = 1; message First { string x = 1; } map<string, string> b = 2; message Line { message Discount { double share = 1; } } }`})
	any := serde.ProtobufAny(reg)
	for place, want := range map[string]protoreflect.FullName{
		"\x02\x02": "leat.test.Order", "\x04\x02\x02": "leat.test.Order.First", "\x04\x02\x06": "leat.test.Order.Line",
		"\x06\x02\x06\x00": "leat.test.Order.Line.Discount", "\x04\x02\x00": "leat.test.Order.First", "\x06\x02\x02\x00": "leat.test.Order.Line.Discount",
	} {
		m, err := any.Decode(t.Context(), value("t"), []byte("\x00\x00\x00\x00\x09"+place))
		check(t, err)
		if got := m.ProtoReflect().Descriptor().FullName(); got != want {
			t.Errorf("% x is a %s, want %s", place, got, want)
		}
	}
	for _, place := range []string{"\x04\x02\x04", "\x04\x02\x08", "\x02\x04"} { // an entry that is not to be mistaken, nothing
		if m, err := any.Decode(t.Context(), value("t"), []byte("\x00\x00\x00\x00\x09"+place)); err == nil {
			t.Errorf("% x is a %s", place, m.ProtoReflect().Descriptor().FullName())
		}
	}
}

// A map's key, and once more of another wire type, at which the library panics.
func TestProtobufAnyMapKey(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("maps", 1, 9, sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3"; message M { map<string, string> a = 1; }`})
	_, err := serde.ProtobufAny(reg).Decode(t.Context(), value("t"), []byte("\x00\x00\x00\x00\x09\x00\x0a\x05\x0a\x01x\x08\x01"))
	wantIs(t, err, serde.ErrMalformed)
	wantClass(t, err, "the record's")
}

// Cut off within a field a message is an error; between fields it is a shorter one.
func TestProtobufTruncated(t *testing.T) {
	_, reg := newFake(t)
	s := serde.Protobuf[*testpb.Order](reg)
	data := encode(t, s, "t", protoOrders()[0])
	const start = 7
	accepted := 0
	for n := range data {
		m, err := s.Decode(t.Context(), value("t"), data[:n:n])
		if err != nil {
			wantClass(t, err, "the record's")
			continue
		}
		accepted++
		whole, err := proto.Marshal(m)
		check(t, err)
		if n < start || string(whole) != string(data[start:n]) {
			t.Errorf("the first %d of %d bytes are read as %v", n, len(data), m)
		}
	}
	if fields := 10; accepted != fields { // after none, and after each but the last; of the tags there are two
		t.Errorf("%d prefixes are accepted, want %d", accepted, fields)
	}
}

// A schema that somebody else has written, with other fields.
func TestProtobufEvolved(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("later", 1, 9, sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3"; package leat.test;
		message Header { string source = 1; string region = 2; }`})
	s := serde.Protobuf[*testpb.Header](reg)
	got, err := s.Decode(t.Context(), value("headers"), []byte("\x00\x00\x00\x00\x09\x00\x0a\x01s\x12\x02eu"))
	check(t, err)
	if got.GetSource() != "s" || len(got.ProtoReflect().GetUnknown()) == 0 {
		t.Errorf("got %v", got)
	}
	fake.SeedSchema("foreign", 1, 10, sr.Schema{Type: sr.TypeProtobuf, Schema: `syntax = "proto3"; message Other { string source = 1; }`})
	_, err = s.Decode(t.Context(), value("headers"), []byte("\x00\x00\x00\x00\x0a\x00\x0a\x01s"))
	wantIs(t, err, serde.ErrUnresolvable)
	wantClass(t, err, "fatal")
	fake.SeedSchema("broken", 1, 11, sr.Schema{Type: sr.TypeProtobuf, Schema: `import "nowhere.proto";`})
	_, err = s.Decode(t.Context(), value("headers"), []byte("\x00\x00\x00\x00\x0b\x00\x0a\x01s"))
	wantIs(t, err, serde.ErrUnresolvable)
}

func TestProtobufNull(t *testing.T) {
	_, reg := newFake(t)
	s := serde.Protobuf[*testpb.Header](reg)
	_, err := s.Append(t.Context(), []byte{}, value("t"), nil)
	wantClass(t, err, "the record's")
	if err == nil || !strings.Contains(err.Error(), "MessageOrNull") {
		t.Errorf("got %v", err)
	}
	_, err = s.Decode(t.Context(), value("t"), nil)
	wantIs(t, err, pipeline.ErrTombstone)
	n := serde.Protobuf[*testpb.Header](reg, serde.MessageOrNull())
	if _, ok := n.(pipeline.Nullable); !ok {
		t.Error("it does not say that it knows null")
	}
	data, err := n.Append(t.Context(), []byte{}, value("t"), nil)
	if data != nil || err != nil {
		t.Errorf("nil is % x, %v", data, err)
	}
	got, err := n.Decode(t.Context(), value("t"), nil)
	if got != nil || err != nil {
		t.Errorf("null is %v, %v", got, err)
	}
	empty := encode(t, n, "t", &testpb.Header{})
	got, err = n.Decode(t.Context(), value("t"), empty)
	if got == nil || err != nil {
		t.Errorf("an empty message is %v, %v", got, err)
	}
}

// Dynamic messages: read by the writer's schema, and written by the registry's.
func TestProtobufAny(t *testing.T) {
	_, reg := newFake(t)
	o := protoOrders()[0]
	data := encode(t, serde.Protobuf[*testpb.Order](reg), "orders", o)
	any := serde.ProtobufAny(reg, serde.UseLatest())
	got, err := any.Decode(t.Context(), value("orders"), data)
	check(t, err)
	d, ok := got.(*dynamicpb.Message)
	if !ok || d.Descriptor().FullName() != "leat.test.Order" {
		t.Fatalf("got %T %v", got, got)
	}
	again := encode(t, any, "orders", got)
	back, err := serde.Protobuf[*testpb.Order](reg).Decode(t.Context(), value("orders"), again)
	check(t, err)
	if !proto.Equal(back, o) {
		t.Errorf("got %v", back)
	}
	if b := encode(t, any, "orders", proto.Message(&testpb.Header{Source: "x"})); b[5] != 0 {
		t.Errorf("another message of the schema begins with % x", b)
	}
	_, err = any.Append(t.Context(), []byte{}, value("orders"), &common.Money{})
	wantClass(t, err, "the record's")
	_, err = serde.ProtobufAny(reg).Append(t.Context(), []byte{}, value("orders"), o)
	wantIs(t, err, serde.ErrInvalid)
}

func TestProtobufInvalid(t *testing.T) {
	_, reg := newFake(t)
	for says, s := range map[string]any{
		"no message":          serde.Protobuf[*testpb.Header](reg, serde.Schema(`syntax = "proto3"; message Other {}`)),
		"Schema":              serde.Protobuf[*testpb.Header](reg, serde.Schema(`no proto`)),
		"no generated":        serde.Protobuf[proto.Message](reg),
		"ProtobufAny takes":   serde.Protobuf[*dynamicpb.Message](reg),
		"Codec is an option":  serde.Protobuf[*testpb.Header](reg, serde.Codec(serde.Twmb{})),
		"AsDescriptor is an":  serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.AsDescriptor()),
		"References[0]":       serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.References(registry.Reference{})),
		"no registry client":  serde.ProtobufAny(nil),
		"UseID: 0":            serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.UseID(0)),
		"UseID and InHeader":  serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.UseID(1), serde.InHeader()),
		"Subject: nil":        serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Subject(nil)),
		"MaxSchemas: 0":       serde.JSONSchema[Order](reg, serde.MaxSchemas(0)),
		"ValidateReads is an": serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.ValidateReads(false)),
	} {
		err := s.(serde.Validator).Validate()
		if !errors.Is(err, serde.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v", says, err)
		}
	}
}
