package checktest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	keySize   = 16 // hex digits of the id
	valueSize = 200
	bodies    = 4096
)

// pool holds value bodies: room for the id, bytes that do not compress, and text
// that does.
var pool = func() [bodies][]byte {
	const text = `{"status":"ACTIVE","currency":"EUR","country":"DE","channel":"web","version":3,"flags":[0,1,0]}`
	var out [bodies][]byte
	x := uint64(0x9E3779B97F4A7C15)
	for i := range out {
		b := make([]byte, valueSize)
		for j := 8; j < 104; j += 8 {
			x ^= x << 13
			x ^= x >> 7
			x ^= x << 17
			binary.LittleEndian.PutUint64(b[j:], x)
		}
		copy(b[104:], text)
		out[i] = b
	}
	return out
}()

// epoch is the timestamp of record 0: recent, since a broker deletes what is older
// than the topic's retention, whenever it was written.
var epoch = time.UnixMilli(time.Now().Add(-time.Hour).UnixMilli())

// timestamp is a record's: a millisecond after the one before, for half an hour.
func timestamp(id uint64) time.Time {
	return epoch.Add(time.Duration(id%(30*60*1000)) * time.Millisecond)
}

// A header that occurs twice: both must arrive, in this order.
const twice = "twice"

var first, second = []byte("first"), []byte("second")

// Record makes the record with an id: everything in it follows from the id.
func Record(topic string, id uint64) *kgo.Record {
	buf := make([]byte, keySize+valueSize)
	key, value := buf[:keySize:keySize], buf[keySize:]
	copy(value, pool[id%bodies])
	binary.BigEndian.PutUint64(value, id)
	putKey(key, id)
	return &kgo.Record{
		Topic: topic, Key: key, Value: value, Timestamp: timestamp(id),
		Headers: []kgo.RecordHeader{{Key: twice, Value: first}, {Key: "id", Value: value[:8:8]}, {Key: twice, Value: second}},
	}
}

func putKey(dst []byte, id uint64) {
	const digits = "0123456789abcdef"
	for i := keySize - 1; i >= 0; i-- {
		dst[i] = digits[id&15]
		id >>= 4
	}
}

// identify returns a record's id, and an error unless all of it is as Record made
// it, followed by the appended headers.
func identify(r *kgo.Record, appended []kgo.RecordHeader) (uint64, error) {
	if len(r.Value) != valueSize {
		return 0, fmt.Errorf("a value of %d bytes", len(r.Value))
	}
	id := binary.BigEndian.Uint64(r.Value)
	var key [keySize]byte
	putKey(key[:], id)
	switch {
	case !bytes.Equal(r.Key, key[:]):
		return id, fmt.Errorf("id %d has key %q", id, r.Key)
	case !bytes.Equal(r.Value[8:], pool[id%bodies][8:]):
		return id, fmt.Errorf("id %d has another value", id)
	case !r.Timestamp.Equal(timestamp(id)):
		return id, fmt.Errorf("id %d has timestamp %v", id, r.Timestamp)
	case len(r.Headers) != 3+len(appended):
		return id, fmt.Errorf("id %d has %d headers", id, len(r.Headers))
	}
	for i, h := range r.Headers {
		var want kgo.RecordHeader
		switch i {
		case 0:
			want = kgo.RecordHeader{Key: twice, Value: first}
		case 1:
			want = kgo.RecordHeader{Key: "id", Value: r.Value[:8]}
		case 2:
			want = kgo.RecordHeader{Key: twice, Value: second}
		default:
			want = appended[i-3]
		}
		if h.Key != want.Key || !bytes.Equal(h.Value, want.Value) {
			return id, fmt.Errorf("id %d has header %q=%q, want %q=%q", id, h.Key, h.Value, want.Key, want.Value)
		}
	}
	return id, nil
}
