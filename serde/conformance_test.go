package serde_test

import (
	"testing"

	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/hamba"
	"github.com/leat-stream/leat/serde/serdetest"
)

func TestConformance(t *testing.T) {
	t.Run("Bytes", func(t *testing.T) {
		serdetest.Suite[[]byte]{
			Serde: serde.Bytes(), Values: [][]byte{nil, {}, []byte("a"), {0, 0xff}},
			Equal: func(a, b []byte) bool { return string(a) == string(b) && (a == nil) == (b == nil) },
		}.Run(t)
	})
	t.Run("String", func(t *testing.T) {
		serdetest.Suite[string]{
			Serde: serde.String(), Values: []string{"", "a", "größer\x00"},
			Reject: [][]byte{{0xff}, []byte("s3cr3t-c4nary\xc3"), {0xed, 0xa0, 0x80}}, Secret: secret,
		}.Run(t)
	})
	t.Run("JSON", func(t *testing.T) {
		serdetest.Suite[Order]{
			Serde: serde.JSON[Order](), Values: orders(), Equal: orderEqual, Whole: true, Secret: secret,
			Reject: [][]byte{
				{}, []byte(" "), []byte("null"), []byte(" null\n"), []byte(`{"order_id":"a"`), []byte(`{} {}`), []byte(`[]`),
				[]byte(`{"order_id":"` + secret + `","amount_cents":"` + secret + `"}`),
				[]byte(`{"created_at":"` + secret + `"}`), []byte(`{"amount_cents":1e99}`), []byte(secret), {0, 0, 0, 0, 1, 2},
			},
		}.Run(t)
	})
	t.Run("JSON strict", func(t *testing.T) {
		serdetest.Suite[Order]{
			Serde: serde.JSON[Order](serde.DisallowUnknownFields()), Values: orders(), Equal: orderEqual, Secret: secret,
			Reject: [][]byte{[]byte(`{"` + secret + `":1}`), []byte(`{} {}`), []byte(`{}x`), []byte(`null`), {}},
		}.Run(t)
	})
	t.Run("Nullable", func(t *testing.T) {
		v := "a"
		serdetest.Suite[*string]{Serde: serde.Nullable(serde.String()), Values: []*string{nil, &v}, Reject: [][]byte{{0xff}}}.Run(t)
	})
	for name, codec := range codecs() {
		t.Run("Avro "+name, func(t *testing.T) {
			_, reg := newFake(t)
			serdetest.Suite[Order]{
				Serde: serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(codec)), Values: orders(), Equal: orderEqual,
				Whole: true, Secret: secret, Reject: append(badFrames(), badData(1)...),
			}.Run(t)
		})
		t.Run("Nullable Avro "+name, func(t *testing.T) {
			_, reg := newFake(t)
			all := orders()
			serdetest.Suite[*Order]{
				Serde: serde.Nullable(serde.Avro[Order](reg, serde.Schema(orderAvsc), serde.Codec(codec))), Values: []*Order{nil, &all[0]},
				Equal: func(a, b *Order) bool { return a == b || a != nil && b != nil && orderEqual(*a, *b) },
				Whole: true, Secret: secret, Reject: badFrames(),
			}.Run(t)
		})
	}
}

func codecs() map[string]serde.AvroCodec {
	return map[string]serde.AvroCodec{
		"twmb": serde.Twmb{}, "twmb aliased": serde.Twmb{AliasInput: true}, "hamba": hamba.Codec{},
	}
}

func badFrames() [][]byte {
	return [][]byte{
		{}, {0}, {0, 0, 0, 0}, {1, 0, 0, 0, 1, 2}, []byte(secret), []byte(`{"order_id":"` + secret + `"}`),
		{0, 0xff, 0xff, 0xff, 0xff, 2}, {0, 0, 0, 0x27, 0x0f, 2}, {0, 0, 0, 0, 0, 2},
	}
}

// badData are framed bodies that no order has.
func badData(id byte) [][]byte {
	frame := []byte{0, 0, 0, 0, id}
	var out [][]byte
	for _, body := range []string{
		"",
		"\x02a\x02b\x02\x06\x00\x00\x00", // enum index 3 of 3
		"\x02a\x02b\x02\x01\x00\x00\x00", // enum index -1
		"\x02a\x02b\x02\x00\x00\x04\x00", // union index 2 of 2
		"\x01",                           // negative length
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",                                   // length -2^63
		"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",                                   // length 2^63-1
		"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",                           // varint without end
		"\x02a\x02b\x02\x00\x00\x00\x80\x80\x80\x80\x80\x80\x01",                     // 2^40 items
		"\x02a\x02b\x02\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x00", // -2^63 items
		"\x1as3cr3t-c4nary\x1as3cr3t-c4nary",                                         // cut off after text
	} {
		out = append(out, append(frame[:5:5], body...))
	}
	return out
}
