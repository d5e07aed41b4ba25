package hamba

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/hamba/avro/v2"
	twmb "github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/internal/walk"
	"github.com/leat-stream/leat/serde/registry"
)

// tree has every kind of schema, and recursion.
type tree struct {
	B    bool              `avro:"b"`
	I    int32             `avro:"i"`
	L    int64             `avro:"l"`
	F    float32           `avro:"f"`
	D    float64           `avro:"d"`
	S    string            `avro:"s"`
	Raw  []byte            `avro:"raw"`
	Fix  [3]byte           `avro:"fix"`
	Enum string            `avro:"enum"`
	Opt  *string           `avro:"opt"`
	List []int64           `avro:"list"`
	Map  map[string]string `avro:"map"`
	Kids []tree            `avro:"kids"`
}

const treeAvsc = `{"type":"record","name":"Tree","fields":[
	{"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},{"name":"f","type":"float"},
	{"name":"d","type":"double"},{"name":"s","type":"string"},{"name":"raw","type":"bytes"},
	{"name":"fix","type":{"type":"fixed","name":"Fix","size":3}},
	{"name":"enum","type":{"type":"enum","name":"E","symbols":["A","B"]}},
	{"name":"opt","type":["null","string"]},{"name":"list","type":{"type":"array","items":"long"}},
	{"name":"map","type":{"type":"map","values":"string"}},
	{"name":"kids","type":{"type":"array","items":"Tree"}}]}`

func sample() tree {
	s := "opt"
	leaf := tree{Enum: "A", List: []int64{}, Map: map[string]string{}, Kids: []tree{}, Raw: []byte{}}
	return tree{
		B: true, I: -5, L: math.MaxInt64, F: 1.5, D: -2.25, S: "text", Raw: []byte{0, 1}, Fix: [3]byte{1, 2, 3}, Enum: "B", Opt: &s,
		List: []int64{1, -1, math.MinInt64}, Map: map[string]string{"k": "v"}, Kids: []tree{leaf, leaf},
	}
}

func schema(text string) registry.Schema { return registry.Schema{Text: text} }

func decoder(t testing.TB, c Codec, writer, reader string) func([]byte, any) ([]byte, error) {
	t.Helper()
	d, err := c.Decoder(schema(writer), schema(reader))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func encoded(t testing.TB) []byte {
	t.Helper()
	e, err := Codec{}.Encoder(schema(treeAvsc))
	if err != nil {
		t.Fatal(err)
	}
	v := sample()
	data, err := e(nil, &v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestEveryKind(t *testing.T) {
	data := encoded(t)
	decode := decoder(t, Codec{}, treeAvsc, treeAvsc)
	var got tree
	rest, err := decode(append(bytes.Clone(data), 9), &got)
	if err != nil || !bytes.Equal(rest, []byte{9}) {
		t.Fatalf("rest %v, %v", rest, err)
	}
	if !reflect.DeepEqual(got, sample()) {
		t.Errorf("got %+v, want %+v", got, sample())
	}
	// The other library reads it too.
	var other tree
	if rest, err := twmb.MustParse(treeAvsc).Decode(data, &other); err != nil || len(rest) > 0 || !reflect.DeepEqual(other, sample()) {
		t.Errorf("twmb: %v %v %+v", rest, err, other)
	}
}

// The library alone accepts many of these: that is why the adapter walks.
func TestEveryTruncation(t *testing.T) {
	data := encoded(t)
	decode := decoder(t, Codec{}, treeAvsc, treeAvsc)
	alone := 0
	for n := range data {
		var v tree
		if _, err := decode(data[:n:n], &v); err == nil {
			t.Errorf("the first %d of %d bytes were accepted", n, len(data))
		}
		if avro.Unmarshal(avro.MustParse(treeAvsc), data[:n:n], new(tree)) == nil {
			alone++
		}
	}
	if alone == 0 {
		t.Error("the library refuses every truncation by itself now: is the walk still needed?")
	}
}

func TestWalkRefuses(t *testing.T) {
	long := func(n int64) string { return string(binary.AppendVarint(nil, n)) }
	for what, c := range map[string]struct {
		schema, data string
	}{
		"boolean 2":               {`"boolean"`, "\x02"},
		"int beyond 32 bits":      {`"int"`, long(math.MaxInt32 + 1)},
		"long beyond 64 bits":     {`"long"`, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"},
		"long without end":        {`"long"`, strings.Repeat("\x80", 20)},
		"negative string":         {`"string"`, long(-1)},
		"string of 2^62":          {`"string"`, long(1 << 62)},
		"huge array":              {`{"type":"array","items":"long"}`, long(1 << 40)},
		"huge array of nothing":   {`{"type":"array","items":"null"}`, long(1<<40) + "\x00"},
		"nothing, many blocks":    {`{"type":"array","items":"null"}`, strings.Repeat(long(1<<19), 3) + "\x00"},
		"smallest count":          {`{"type":"array","items":"long"}`, long(math.MinInt64) + "\x00"},
		"block size too large":    {`{"type":"array","items":"long"}`, long(-1) + long(100) + "\x02\x00"},
		"block size negative":     {`{"type":"array","items":"long"}`, long(-1) + long(-1) + "\x02\x00"},
		"block size of too few":   {`{"type":"array","items":"long"}`, long(-2) + long(1) + "\x02\x02\x00"},
		"huge map":                {`{"type":"map","values":"long"}`, long(1<<40) + "\x02a\x02"},
		"map key beyond the end":  {`{"type":"map","values":"null"}`, long(1) + long(9) + "a\x00"},
		"enum index":              {`{"type":"enum","name":"E","symbols":["A"]}`, "\x02"},
		"enum index negative":     {`{"type":"enum","name":"E","symbols":["A"]}`, "\x01"},
		"union index":             {`["null","int"]`, "\x04"},
		"fixed cut off":           {`{"type":"fixed","name":"F","size":4}`, "abc"},
		"double cut off":          {`"double"`, "1234567"},
		"nested without end":      {`{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}`, strings.Repeat("\x02", 100_000) + "\x00"},
		"nested arrays, all open": {`{"type":"record","name":"R","fields":[{"name":"r","type":{"type":"array","items":"R"}}]}`, strings.Repeat("\x02", 100_000)},
	} {
		decode := decoder(t, Codec{}, c.schema, c.schema)
		var v any
		_, err := decode([]byte(c.data), &v)
		var datum interface{ SafeError() string }
		if !errors.As(err, &datum) {
			t.Errorf("%s: got %v, want the walk to refuse it", what, err)
		}
	}
}

func TestDecimalOfAnotherScaleDoesNotResolve(t *testing.T) {
	const a = `{"type":"bytes","logicalType":"decimal","precision":4,"scale":1}`
	const b = `{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`
	if _, err := (Codec{}).Decoder(schema(a), schema(b)); err == nil {
		t.Error("accepted")
	}
}

// The library would overflow its stack; there is no recovering from that.
func TestDifferentRecursiveSchemasDoNotResolve(t *testing.T) {
	wider := strings.Replace(treeAvsc, `"type":"int"`, `"type":"long"`, 1)
	if _, err := (Codec{}).Decoder(schema(treeAvsc), schema(wider)); !errors.Is(err, errRecursive) {
		t.Errorf("got %v", err)
	}
	reformatted := strings.ReplaceAll(treeAvsc, ",", " , ")
	if _, err := (Codec{}).Decoder(schema(reformatted), schema(treeAvsc)); err != nil {
		t.Errorf("the same schema in another format: %v", err)
	}
	twice := `{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"fixed","name":"F","size":1}},{"name":"b","type":"F"}]}`
	if _, err := (Codec{}).Decoder(schema(strings.Replace(twice, `{"name":"b"`, `{"name":"c","type":"F"},{"name":"b"`, 1)), schema(twice)); err != nil {
		t.Errorf("a type used twice is not recursive: %v", err)
	}
}

// Two schemas may name different types alike; neither may see the other's.
func TestSchemasDoNotLeak(t *testing.T) {
	const def = `{"type":"record","name":"Leaky","fields":[{"name":"a","type":"int"}]}`
	if _, err := (Codec{}).Encoder(schema(def)); err != nil {
		t.Fatal(err)
	}
	if _, err := (Codec{}).Encoder(schema(`{"type":"array","items":"Leaky"}`)); err == nil {
		t.Error("a name of another schema was resolved")
	}
}

func TestPanicIsAnError(t *testing.T) {
	c := Codec{Setup: func(api avro.API) {
		api.RegisterTypeConverters(avro.TypeConversionFuncs{
			AvroType:              avro.String,
			DecoderTypeConversion: func(any, avro.Schema) (any, error) { panic("boom") },
		})
	}}
	decode := decoder(t, c, `"string"`, `"string"`)
	var v any
	if _, err := decode([]byte("\x02a"), &v); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	err := Codec{MaxItems: -1, MaxBytes: -1, MaxDepth: -1}.Validate()
	for _, want := range []string{"MaxItems", "MaxBytes", "MaxDepth"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to mention %s", err, want)
		}
	}
	if err := (Codec{}).Validate(); err != nil {
		t.Error(err)
	}
}

// Whatever the bytes, the adapter neither crashes nor accepts what the stricter
// library refuses; and both read the same.
func FuzzAgainstTwmb(f *testing.F) {
	f.Add(encoded(f))
	f.Add([]byte("\x01"))
	f.Add([]byte{})
	decode := decoder(f, Codec{}, treeAvsc, treeAvsc)
	strict := twmb.MustParse(treeAvsc)
	f.Fuzz(func(t *testing.T, data []byte) {
		var a, b tree
		restA, errA := decode(data, &a)
		restB, errB := strict.Decode(data, &b)
		if errA != nil {
			return // it checks more: block sizes, widths
		}
		if errB != nil {
			t.Fatalf("accepted, but twmb says %v", errB)
		}
		if len(restA) != len(restB) {
			t.Fatalf("left over %d and %d bytes", len(restA), len(restB))
		}
		// NaN is not equal to itself.
		if a.D == a.D && a.F == a.F && len(a.Kids) == 0 && !reflect.DeepEqual(normal(a), normal(b)) {
			t.Fatalf("read %+v, and twmb %+v", a, b)
		}
	})
}

// normal makes nil and empty alike.
func normal(v tree) tree {
	if len(v.Raw) == 0 {
		v.Raw = nil
	}
	if len(v.List) == 0 {
		v.List = nil
	}
	if len(v.Map) == 0 {
		v.Map = nil
	}
	if len(v.Kids) == 0 {
		v.Kids = nil
	}
	return v
}

func TestWalkAllocatesNothing(t *testing.T) {
	data := encoded(t)
	node, err := nodeOf(avro.MustParse(treeAvsc), map[string]*walk.Node{})
	if err != nil || !node.Tree() {
		t.Fatalf("%v, a tree: %v", err, node.Tree())
	}
	if n := testing.AllocsPerRun(200, func() {
		if end, err := node.Check(data, walk.Limits{Items: 100, Bytes: 100, Depth: 100}); err != nil || end != len(data) {
			t.Fatal(end, err)
		}
	}); n != 0 {
		t.Errorf("%.0f allocations", n)
	}
}
