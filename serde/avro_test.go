package serde_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/hamba"
	"github.com/leat-stream/leat/serde/registry"
)

// The bytes are by the specifications, not by this program: a zero byte, the id
// in 4 bytes big-endian, and Avro's binary encoding.
func TestAvroGolden(t *testing.T) {
	type pair struct {
		A string `avro:"a"`
		B int64  `avro:"b"`
	}
	const avsc = `{"type":"record","name":"Pair","fields":[{"name":"a","type":"string"},{"name":"b","type":"long"}]}`
	for _, c := range []struct {
		id  int
		v   pair
		hex string
	}{
		{1, pair{}, "0000000001" + "00" + "00"},
		{42, pair{"foo", -1}, "000000002a" + "06666f6f" + "01"},
		{0x01020304, pair{"ä", 64}, "0001020304" + "04c3a4" + "8001"},
		{0x7fffffff, pair{"", 1 << 62}, "007fffffff" + "00" + "80808080808080808001"},
	} {
		for name, codec := range codecs() {
			fake, reg := newFake(t)
			fake.SeedSchema("t-value", 1, c.id, avroSchema(avsc))
			s := serde.Avro[pair](reg, serde.Schema(avsc), serde.Codec(codec))
			if got := hex.EncodeToString(encode(t, s, "t", c.v)); got != c.hex {
				t.Errorf("%s: %v: got %s, want %s", name, c.v, got, c.hex)
			}
			raw, err := hex.DecodeString(c.hex)
			check(t, err)
			got, err := s.Decode(t.Context(), value("t"), raw)
			check(t, err)
			if got != c.v {
				t.Errorf("%s: %s: got %v, want %v", name, c.hex, got, c.v)
			}
		}
	}
}

func TestAvroSubjects(t *testing.T) {
	fake, reg := newFake(t)
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	p, ok := s.(pipeline.Preparer)
	if !ok {
		t.Fatal("not a Preparer")
	}
	check(t, p.Prepare(t.Context(), pipeline.Slot{Topic: "orders"}, true))
	check(t, p.Prepare(t.Context(), pipeline.Slot{Topic: "orders", Key: true}, true))
	check(t, p.Prepare(t.Context(), pipeline.Slot{Topic: "only-read"}, false))
	for subject, want := range map[string]bool{"orders-value": true, "orders-key": true, "only-read-value": false} {
		if got := fake.SubjectExists(subject); got != want {
			t.Errorf("subject %s exists: %v, want %v", subject, got, want)
		}
	}
}

func TestAvroWithoutAutoRegister(t *testing.T) {
	fake, reg := newFake(t)
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.AutoRegister(false))
	_, err := s.Append(t.Context(), []byte{}, value("orders"), orders()[0])
	wantIs(t, err, registry.ErrNotFound)
	wantClass(t, err, "fatal")
	if fake.SubjectExists("orders-value") {
		t.Error("a schema was registered")
	}
	id, _, err := fake.RegisterSchema("orders-value", avroSchema(orderAvsc))
	check(t, err)
	b := encode(t, s, "orders", orders()[0])
	if b[4] != byte(id) {
		t.Errorf("id %d, want %d", b[4], id)
	}
}

// Every fact is asked for once, however many records need it.
func TestAvroAsksOnce(t *testing.T) {
	fake, reg := newFake(t)
	requests := map[string]int{}
	fake.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		requests[r.Method+" "+r.URL.Path]++ // the steps below are sequential
		return false
	})
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	for range 3 {
		for _, o := range orders() {
			b := encode(t, s, "orders", o)
			_, err := s.Decode(t.Context(), value("orders"), b)
			check(t, err)
		}
		_, err := s.Decode(t.Context(), value("orders"), []byte{0, 0, 0, 0, 99, 2})
		wantIs(t, err, serde.ErrUnknownSchema)
		wantIs(t, err, registry.ErrNotFound)
		wantClass(t, err, "the record's")
	}
	want := map[string]int{"POST /subjects/orders-value/versions": 1, "GET /schemas/ids/1": 1, "GET /schemas/ids/99": 1}
	if fmt.Sprint(requests) != fmt.Sprint(want) {
		t.Errorf("requests: %v, want %v", requests, want)
	}
}

func TestAvroSentinels(t *testing.T) {
	_, reg := newFake(t)
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	good := encode(t, s, "orders", orders()[0])
	for _, c := range []struct {
		data []byte
		want error
	}{
		{nil, pipeline.ErrTombstone},
		{[]byte{}, serde.ErrEmpty},
		{[]byte{0, 0, 0, 1}, serde.ErrNotFramed},
		{[]byte(`{"order_id":1}`), serde.ErrNotFramed},
		{[]byte{0, 0x80, 0, 0, 0, 1}, serde.ErrUnknownSchema},
		{good[:len(good)-1], serde.ErrMalformed},
		{append(bytes.Clone(good), 0), serde.ErrTrailing},
	} {
		_, err := s.Decode(t.Context(), value("orders"), c.data)
		wantIs(t, err, c.want)
		wantClass(t, err, "the record's")
	}
	_, err := s.Append(t.Context(), []byte{}, value("orders"), Order{Status: secret})
	wantClass(t, err, "the record's")
	if strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "status") {
		t.Errorf("want the field and not its value: %v", err)
	}
}

func TestAvroEvolution(t *testing.T) {
	type v struct {
		ID    string  `avro:"id"`
		N     int64   `avro:"n"`
		F     float64 `avro:"f"`
		Kind  string  `avro:"kind"`
		Since string  `avro:"since"`
		Opt   *string `avro:"opt"`
	}
	const reader = `{"type":"record","name":"V","fields":[
		{"name":"id","type":"string"},{"name":"n","type":"long"},{"name":"f","type":"double"},
		{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["OTHER","A"],"default":"OTHER"}},
		{"name":"since","type":"string","default":"always"},{"name":"opt","type":["null","string"],"default":null}]}`
	// Narrower numbers, a symbol the reader does not know, a field the reader
	// dropped, another order, and none of the reader's new fields.
	const writer = `{"type":"record","name":"V","fields":[
		{"name":"dropped","type":{"type":"map","values":["null",{"type":"array","items":"double"}]}},
		{"name":"kind","type":{"type":"enum","name":"Kind","symbols":["A","B"]}},
		{"name":"n","type":"int"},{"name":"f","type":"float"},{"name":"id","type":"string"}]}`
	// dropped: {"k": [1.0], "z": null} in a block with its size; then the rest.
	datum := "03" + "20" + "026b" + "02" + "02" + "000000000000f03f" + "00" + "027a" + "00" + "00"
	for symbol, want := range map[string]string{"00": "A", "02": "OTHER"} {
		for name, codec := range codecs() {
			fake, reg := newFake(t)
			fake.SeedSchema("t-value", 1, 7, avroSchema(writer))
			s := serde.Avro[v](reg, serde.Schema(reader), serde.Codec(codec))
			raw, err := hex.DecodeString("0000000007" + datum + symbol + "2a" + "0000c03f" + "026f")
			check(t, err)
			got, err := s.Decode(t.Context(), value("t"), raw)
			check(t, err)
			if w := (v{ID: "o", N: 21, F: 1.5, Kind: want, Since: "always"}); got != w {
				t.Errorf("%s: got %+v, want %+v", name, got, w)
			}
			for n := range raw {
				if _, err := s.Decode(t.Context(), value("t"), raw[:n]); err == nil {
					t.Errorf("%s: the first %d of %d bytes were accepted", name, n, len(raw))
				}
			}
		}
	}
}

func TestAvroUnresolvableIsFatal(t *testing.T) {
	for what, writer := range map[string]sr.Schema{
		"field without default": avroSchema(`{"type":"record","name":"Order","fields":[{"name":"order_id","type":"string"}]}`),
		"narrowing":             avroSchema(strings.Replace(orderAvsc, `"amount_cents","type":"long"`, `"amount_cents","type":"double"`, 1)),
		"another record":        avroSchema(`{"type":"record","name":"Other","fields":[]}`),
		"not a record":          avroSchema(`"string"`),
		"a JSON Schema":         {Schema: `{"type":"object"}`, Type: sr.TypeJSON},
	} {
		for name, codec := range codecs() {
			fake, reg := newFake(t)
			fake.SeedSchema("t-value", 1, 7, writer)
			s := serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(codec))
			_, err := s.Decode(t.Context(), value("t"), []byte{0, 0, 0, 0, 7, 2, 'a'})
			if err == nil {
				t.Fatalf("%s, %s: accepted", what, name)
			}
			wantIs(t, err, serde.ErrUnresolvable)
			wantClass(t, err, "fatal")
		}
	}
}

func TestAvroReferences(t *testing.T) {
	type inner struct {
		A int32 `avro:"a"`
	}
	type outer struct {
		X inner `avro:"x"`
	}
	const innerAvsc = `{"type":"record","name":"Inner","namespace":"n","fields":[{"name":"a","type":"int"}]}`
	const outerAvsc = `{"type":"record","name":"Outer","namespace":"n","fields":[{"name":"x","type":"n.Inner"}]}`
	whole := strings.Replace(outerAvsc, `"n.Inner"`, innerAvsc, 1)
	for name, codec := range codecs() {
		fake, reg := newFake(t)
		fake.SeedSchema("inner", 1, 5, avroSchema(innerAvsc))
		fake.SeedSchema("t-value", 1, 6, sr.Schema{Schema: outerAvsc, References: []sr.SchemaReference{{Name: "n.Inner", Subject: "inner", Version: 1}}})
		s := serde.Avro[outer](reg, serde.Schema(whole), serde.Codec(codec))
		got, err := s.Decode(t.Context(), value("t"), []byte{0, 0, 0, 0, 6, 42})
		check(t, err)
		if got.X.A != 21 {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

func TestAvroValidate(t *testing.T) {
	_, reg := newFake(t)
	type missing struct {
		OrderID string `avro:"order_id"`
	}
	type mistyped struct {
		OrderID string `avro:"order_id"`
		Note    *int   `avro:"note"`
	}
	const noted = `{"type":"record","name":"N","fields":[{"name":"order_id","type":"string"},{"name":"note","type":["null","string"]}]}`
	const recursive = `{"type":"record","name":"N","fields":[{"name":"order_id","type":"string"},{"name":"note","type":["null","string","N",{"type":"array","items":"N"}]}]}`
	for what, c := range map[string]struct {
		s    any
		want string
	}{
		"no registry":   {serde.Avro[Order](nil, serde.Schema(orderAvsc)), "registry"},
		"no JSON":       {serde.Avro[Order](reg, serde.Schema("{")), "Schema"},
		"empty":         {serde.Avro[Order](reg, serde.Schema("")), "Schema"},
		"unknown type":  {serde.Avro[Order](reg, serde.Schema(`{"type":"strng"}`)), "Schema"},
		"not derivable": {serde.Avro[int](reg), "derived"},
		"missing field": {serde.Avro[missing](reg, serde.Schema(orderAvsc)), "missing field"},
		"mistyped":      {serde.Avro[mistyped](reg, serde.Schema(noted)), "note"},
		"recursive":     {serde.Avro[mistyped](reg, serde.Schema(recursive)), "note"},
		"no codec":      {serde.Avro[Order](reg, serde.Codec(nil)), "Codec"},
		"bad codec":     {serde.Avro[Order](reg, serde.Codec(hamba.Codec{MaxDepth: -1})), "MaxDepth"},
		"no schemas":    {serde.Avro[Order](reg, serde.MaxSchemas(0)), "MaxSchemas"},
		"inside":        {serde.Nullable(serde.Avro[Order](nil)), "registry"},
	} {
		v, ok := c.s.(serde.Validator)
		if !ok {
			t.Fatalf("%s: not a Validator", what)
		}
		err := v.Validate()
		wantIs(t, err, serde.ErrInvalid)
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want it to say %q", what, err, c.want)
		}
	}
	good := map[string]any{
		"derived":      serde.Avro[missing](reg),
		"skip unknown": serde.Avro[missing](reg, serde.Schema(orderAvsc), serde.Codec(serde.Twmb{SkipUnknown: true})),
		"any":          serde.Avro[any](reg, serde.Schema(orderAvsc)),
		"a map":        serde.Avro[map[string]any](reg, serde.Schema(recursive)),
		"a pointer":    serde.Avro[*Order](reg, serde.Schema(orderAvsc)),
		"picky text":   serde.Avro[picky](reg, serde.Schema(`{"type":"record","name":"P","fields":[{"name":"t","type":"string"}]}`)),
	}
	for what, s := range good {
		if err := s.(serde.Validator).Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// picky refuses the empty text that a check with made data would use.
type picky struct {
	T pickyText `avro:"t"`
}

type pickyText struct{ s string }

func (p *pickyText) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("empty")
	}
	p.s = string(b)
	return nil
}

func (p pickyText) MarshalText() ([]byte, error) { return []byte(p.s), nil }

// What Validate reports, every other method says too, and it is everyone's.
func TestAvroInvalidIsFatal(t *testing.T) {
	s := serde.Avro[Order](nil, serde.Schema("{"))
	_, err := s.Append(t.Context(), []byte{}, value("t"), Order{})
	wantClass(t, err, "fatal")
	_, err = s.Decode(t.Context(), value("t"), []byte{0})
	wantClass(t, err, "fatal")
	wantIs(t, err, serde.ErrInvalid)
	err = s.(pipeline.Preparer).Prepare(t.Context(), value("t"), true)
	wantClass(t, err, "fatal")
}

func TestAvroMaxSchemas(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("a", 1, 1, avroSchema(`{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}`))
	fake.SeedSchema("b", 1, 2, avroSchema(`{"type":"record","name":"R","fields":[{"name":"b","type":"int"}]}`))
	type r struct {
		A int32 `avro:"a"`
	}
	s := serde.Avro[r](reg, serde.MaxSchemas(1), serde.Schema(`{"type":"record","name":"R","fields":[{"name":"a","type":"int","default":5}]}`))
	for range 3 {
		for id, want := range map[byte]int32{1: 21, 2: 5} {
			got, err := s.Decode(t.Context(), value("t"), []byte{0, 0, 0, 0, id, 42})
			check(t, err)
			if got.A != want {
				t.Errorf("id %d: got %d, want %d", id, got.A, want)
			}
		}
	}
}

// The registry being away is never the record's error.
func TestAvroRegistryAway(t *testing.T) {
	fake, reg := newFake(t)
	status := http.StatusServiceUnavailable
	fake.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if status == 0 {
			return false
		}
		w.WriteHeader(status)
		return true
	})
	s := serde.Avro[Order](reg, serde.Schema(orderAvsc))
	for _, c := range []struct {
		status int
		class  string
	}{{503, "retriable"}, {500, "retriable"}, {429, "retriable"}, {401, "fatal"}, {403, "fatal"}} {
		status = c.status
		_, err := s.Append(t.Context(), []byte{}, value("orders"), orders()[0])
		wantClass(t, err, c.class)
		_, err = s.Decode(t.Context(), value("orders"), []byte{0, 0, 0, 0, 1, 2})
		wantClass(t, err, c.class)
		wantClass(t, s.(pipeline.Preparer).Prepare(t.Context(), value("orders"), false), c.class)
	}
	// It comes back, and nothing of that was kept.
	status = 0
	b := encode(t, s, "orders", orders()[0])
	_, err := s.Decode(t.Context(), value("orders"), b)
	check(t, err)
}

func TestAvroInfersItsType(t *testing.T) {
	fake := srfake.New()
	defer fake.Close()
	reg := newClient(t, fake.URL())
	p := pipeline.New("p")
	orders := pipeline.From(p, "orders", serde.Avro[Order](reg, serde.Schema(orderAvsc)))
	pipeline.To(orders, "copy", serde.JSON[Order]())
	check(t, p.Validate())
}

// The bytes of a record do not bound items that take none; the codec does.
func TestAvroItemsWithoutBytes(t *testing.T) {
	_, reg := newFake(t)
	s := serde.AvroAny(reg, serde.Schema(`{"type":"array","items":"null"}`))
	data := encode(t, s, "t", any(make([]any, 4096)))
	got, err := s.Decode(t.Context(), value("t"), data)
	check(t, err)
	if n := len(got.([]any)); n != 4096 {
		t.Errorf("%d items", n)
	}
	for _, count := range []string{"\x82\x40\x00", "\x80\x80\x80\x80\x80\x80\x01\x00"} { // 4097, 2^41
		_, err = s.Decode(t.Context(), value("t"), append(data[:5:5], count...))
		wantIs(t, err, serde.ErrMalformed)
		wantClass(t, err, "the record's")
	}
}
