package send

import (
	"encoding/binary"
	"fmt"
)

// decoded is a record as it stands in a batch's body.
type decoded struct {
	at         int64 // ms
	offset     int64 // within the batch
	key, value []byte
	headers    []Header
}

// decode reads a batch's body.
func decode(b *batch) (out []decoded) {
	p := b.body.Bytes()
	varint := func() int64 {
		v, n := binary.Varint(p)
		if n <= 0 {
			panic(fmt.Sprintf("no varint in %x", p))
		}
		p = p[n:]
		return v
	}
	field := func() []byte {
		n := varint()
		if n < 0 {
			return nil
		}
		v := p[:n:n]
		p = p[n:]
		return v
	}
	for len(p) > 0 {
		length := varint()
		end := len(p) - int(length)
		p = p[1:]
		var r decoded
		r.at, r.offset = b.body.First()+varint(), varint()
		r.key, r.value = field(), field()
		for range varint() {
			r.headers = append(r.headers, Header{Key: string(field()), Value: field()})
		}
		if len(p) != end {
			panic(fmt.Sprintf("a record of %d bytes ends %d bytes off", length, len(p)-end))
		}
		out = append(out, r)
	}
	return out
}
