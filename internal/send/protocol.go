package send

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/recordbatch"
)

// Produce requests and responses are the one part of the protocol that is written
// and read here: sarama would encode every record a second time, into memory of
// its own, and again with each retry. Three versions suffice: 8 (Kafka 2.4), 10
// (3.7), whose answers name a partition's new leader (KIP-951), and 12 (4.0), which reads
// like 10 and makes a partition part of the transaction (KIP-890).
const (
	apiProduce   = 0
	produceOld   = 8
	produceNew   = 10
	produceJoins = 12
)

// produceVersion picks the version for a request to a broker.
func produceVersion(most int16, joins bool) (int16, error) {
	switch {
	case joins && most < produceJoins:
		return 0, fmt.Errorf("%w: the broker takes Produce requests up to version %d, and the cluster has transaction version 2, which is version %d",
			sarama.ErrUnsupportedVersion, most, produceJoins)
	case joins:
		return produceJoins, nil
	case most >= produceNew:
		return produceNew, nil
	case most >= produceOld:
		return produceOld, nil
	default:
		return 0, fmt.Errorf("%w: the broker takes Produce requests up to version %d, at least %d is needed (Kafka 2.4)", sarama.ErrUnsupportedVersion, most, produceOld)
	}
}

// encoder makes the bytes of Produce requests. Batches' bodies are not copied: they
// stand between the cuts of one buffer that holds all else.
type encoder struct {
	most          int16 // version that the broker takes
	version       int16 // of the next request
	clientID      string
	transactional string // id, or empty
	acks          sarama.RequiredAcks
	timeout       time.Duration
	codec         recordbatch.Codec

	buf  []byte
	cuts []int
}

// encode returns a request with its length in front. It is valid until the next
// call. bodies are those of the batches, as they go on the wire.
func (e *encoder) encode(correlation int32, batches []*batch, body func(*batch) []byte) net.Buffers {
	flexible := e.version >= 9
	be := binary.BigEndian
	p := be.AppendUint32(e.buf[:0], 0) // length
	e.cuts = e.cuts[:0]
	p = be.AppendUint16(p, apiProduce)
	p = be.AppendUint16(p, uint16(e.version))
	p = be.AppendUint32(p, uint32(correlation))
	p = append(be.AppendUint16(p, uint16(len(e.clientID))), e.clientID...)
	p = e.tags(p)
	switch {
	case e.transactional == "" && flexible:
		p = append(p, 0)
	case e.transactional == "":
		p = be.AppendUint16(p, 1<<16-1)
	default:
		p = e.string(p, e.transactional)
	}
	p = be.AppendUint16(p, uint16(e.acks))
	p = be.AppendUint32(p, uint32(e.timeout/time.Millisecond))

	p = e.array(p, topicsOf(batches))
	length := 0
	for i := 0; i < len(batches); {
		topic := batches[i].part.topic
		n := 1
		for i+n < len(batches) && batches[i+n].part.topic == topic {
			n++
		}
		p = e.string(p, topic)
		p = e.array(p, n)
		for _, b := range batches[i : i+n] {
			records := body(b)
			p = be.AppendUint32(p, uint32(b.part.id))
			if size := recordbatch.HeaderSize + len(records); flexible {
				p = binary.AppendUvarint(p, uint64(size)+1)
			} else {
				p = be.AppendUint32(p, uint32(size))
			}
			p = recordbatch.AppendHeader(p, b.frame(e.codec, e.transactional != ""), &b.body, records)
			e.cuts = append(e.cuts, len(p))
			length += len(records)
			p = e.tags(p)
		}
		p = e.tags(p)
		i += n
	}
	p = e.tags(p)
	be.PutUint32(p, uint32(len(p)-4+length))
	e.buf = p

	out := make(net.Buffers, 0, 2*len(batches)+1)
	at := 0
	for i, b := range batches {
		out = append(out, p[at:e.cuts[i]], body(b))
		at = e.cuts[i]
	}
	if at < len(p) {
		out = append(out, p[at:])
	}
	return out
}

func topicsOf(batches []*batch) (n int) {
	for i, b := range batches {
		if i == 0 || batches[i-1].part.topic != b.part.topic {
			n++
		}
	}
	return n
}

// byTopic returns batches with those of a topic together.
func byTopic(batches []*batch) []*batch {
	compare := func(a, b *batch) int { return strings.Compare(a.part.topic, b.part.topic) }
	if slices.IsSortedFunc(batches, compare) {
		return batches
	}
	sorted := slices.Clone(batches)
	slices.SortStableFunc(sorted, compare)
	return sorted
}

// tags is an empty set of tagged fields.
func (e *encoder) tags(p []byte) []byte {
	if e.version >= 9 {
		p = append(p, 0)
	}
	return p
}

func (e *encoder) string(p []byte, s string) []byte {
	if e.version >= 9 {
		p = binary.AppendUvarint(p, uint64(len(s))+1)
	} else {
		p = binary.BigEndian.AppendUint16(p, uint16(len(s)))
	}
	return append(p, s...)
}

func (e *encoder) array(p []byte, n int) []byte {
	if e.version >= 9 {
		return binary.AppendUvarint(p, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(p, uint32(n))
}

var errResponse = errors.New("malformed produce response")

// decodeProduced reads a response, without its length, to a request for batches.
func decodeProduced(p []byte, version int16, correlation int32, batches []*batch) (results []result, throttle time.Duration, err error) {
	d := decoder{p: p, flexible: version >= 9}
	if got := d.int32(); got != correlation {
		return nil, 0, fmt.Errorf("%w: correlation id %d, want %d", errResponse, got, correlation)
	}
	d.tags(nil)
	results = make([]result, len(batches))
	for i := range results {
		results[i] = result{code: sarama.ErrNetworkException, offset: -1, leader: -1} // unless it is answered
	}
	at := 0 // answers come in the order of the request
	for range d.array() {
		topic := d.string()
		for range d.array() {
			id, r := d.result(version)
			i := find(batches, at, topic, id)
			if i >= 0 {
				results[i], at = r, i+1
			}
		}
		d.tags(nil)
	}
	throttle = time.Duration(d.int32()) * time.Millisecond
	d.tags(nil)
	if d.bad || throttle < 0 {
		return nil, 0, errResponse
	}
	return results, throttle, nil
}

func find(batches []*batch, at int, topic []byte, id int32) int {
	for n := range batches {
		i := (at + n) % len(batches)
		if pt := batches[i].part; pt.id == id && pt.topic == string(topic) {
			return i
		}
	}
	return -1
}

// decoder reads the protocol's types. After a mistake it gives zeros.
type decoder struct {
	p        []byte
	flexible bool
	bad      bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.p)) {
		d.bad, d.p = true, nil
		return nil
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

func (d *decoder) int16() int16 {
	if p := d.take(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (d *decoder) int32() int32 {
	if p := d.take(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (d *decoder) int64() int64 {
	if p := d.take(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.take(1 << 62)
		return 0
	}
	d.take(uint64(n))
	return v
}

// array is a length, of at most what can still come.
func (d *decoder) array() int {
	n := int64(0)
	if d.flexible {
		n = int64(min(d.uvarint(), 1<<40)) - 1
	} else {
		n = int64(d.int32())
	}
	if n > int64(len(d.p)) {
		d.take(1 << 62)
		return 0
	}
	return int(max(0, n))
}

// string may be null.
func (d *decoder) string() []byte {
	if d.flexible {
		n := d.uvarint()
		if n == 0 {
			return nil
		}
		return d.take(n - 1)
	}
	n := d.int16()
	if n < 0 {
		return nil
	}
	return d.take(uint64(n))
}

// tags passes over tagged fields, giving each to f.
func (d *decoder) tags(f func(tag uint64, value []byte)) {
	if !d.flexible {
		return
	}
	for range min(d.uvarint(), uint64(len(d.p))) {
		tag := d.uvarint()
		value := d.take(d.uvarint())
		if f != nil && !d.bad {
			f(tag, value)
		}
	}
}

// result reads the answer for one partition.
func (d *decoder) result(version int16) (id int32, r result) {
	id = d.int32()
	r.code = sarama.KError(d.int16())
	r.offset, r.leader = d.int64(), -1
	if at := d.int64(); at >= 0 { // the broker's time, where it sets it
		r.appended = time.UnixMilli(at)
	}
	d.int64() // log start offset
	for range d.array() {
		d.int32() // index of the record
		d.string()
		d.tags(nil)
	}
	r.message = string(d.string())
	d.tags(func(tag uint64, value []byte) {
		if tag == 0 && version >= 10 { // current leader
			v := decoder{p: value, flexible: true}
			leader, epoch := v.int32(), v.int32()
			if !v.bad {
				r.leader, r.leaderEpoch = leader, epoch
			}
		}
	})
	return id, r
}
