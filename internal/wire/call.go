package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/IBM/sarama"
)

// Requests that sarama does not know, or not in the version that is wanted, are sent on
// its connection while it has nothing under way: its reader reads only when an answer is
// due.

// maxResponse bounds what a broker can make us allocate here.
const maxResponse = 1 << 20

var errResponse = errors.New("the broker's answer cannot be understood")

// Call sends a request of a flexible version (KIP-482), in which body is what follows its
// header, and returns what follows the header of the answer. As with Ask, one call at a time,
// for RequestTimeout at most and until ctx ends; after an error the connection is of no use.
func (w *Conn) Call(ctx context.Context, key, version int16, body []byte) (p []byte, err error) {
	err = w.Ask(ctx, func(*sarama.Broker) error {
		d, err := w.raw(ctx, key, version, append([]byte{0}, body...)) // no tagged fields in the header
		if err != nil {
			return err
		}
		d.tags()
		if d.bad {
			return errResponse
		}
		p = d.p
		return nil
	})
	return p, err
}

// raw sends a request whose header ends with the client id and returns what follows the
// answer's correlation id.
func (w *Conn) raw(ctx context.Context, key, version int16, body []byte) (*answer, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := w.dial.conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	d, err := call(w.dial.conn, w.client, key, version, body)
	if err != nil {
		return nil, err
	}
	return d, w.dial.conn.SetDeadline(time.Time{})
}

// The request for the cluster's features (KIP-584). Before version 4 (Kafka 3.9) a broker
// leaves out what it supports from 0 on (KIP-1022); who does not know that version has no
// feature that we look for.
const (
	apiVersions, apiVersionsVersion = 18, 4
	tagSupportedFeatures            = 0
	tagFinalizedFeatures            = 2
)

// TransactionVersion is the feature of KIP-890.
const TransactionVersion = "transaction.version"

// Feature is how far a feature goes, 0 if it is not there: old brokers know of none.
type Feature struct {
	Level     int16 // the cluster's
	Supported int16 // the highest that the broker supports
}

// Feature returns what there is of a feature. The rules are those of Ask.
func (w *Conn) Feature(ctx context.Context, name string) (f Feature, err error) {
	body := []byte{0} // no tagged fields in the header
	for _, s := range []string{"leat", "1"} {
		body = append(binary.AppendUvarint(body, uint64(len(s))+1), s...)
	}
	err = w.Ask(ctx, func(*sarama.Broker) error {
		d, err := w.raw(ctx, apiVersions, apiVersionsVersion, append(body, 0))
		if err != nil {
			return err
		}
		f, err = d.feature(name)
		return err
	})
	return f, err
}

// feature reads an answer to ApiVersions, whose header never has tagged fields.
func (d *answer) feature(name string) (f Feature, err error) {
	if code := sarama.KError(d.int16()); code == sarama.ErrUnsupportedVersion {
		return f, nil // it is from before KIP-511, and so are its features
	} else if code != sarama.ErrNoError {
		return f, fmt.Errorf("versions of the broker's requests: %w", code)
	}
	for range d.array() {
		d.bytes(6) // a request's key and its versions
		d.tags()
	}
	d.int32() // throttle time
	for range d.count() {
		tag := d.uvarint()
		field := answer{p: d.bytes(d.length())}
		if tag != tagSupportedFeatures && tag != tagFinalizedFeatures {
			continue
		}
		for range field.array() {
			at, first, second := string(field.bytes(field.length()-1)), field.int16(), field.int16()
			field.tags()
			switch {
			case at != name:
			case tag == tagFinalizedFeatures: // the highest level, then the lowest
				f.Level = first
			default: // the lowest, then the highest
				f.Supported = second
			}
		}
		d.bad = d.bad || field.bad
	}
	if d.bad {
		return Feature{}, errResponse
	}
	return f, nil
}

// call sends one request and reads its answer.
func call(conn net.Conn, clientID string, key, version int16, body []byte) (*answer, error) {
	const correlation = 0x6c656174 // any number
	request := make([]byte, 4, 64+len(body))
	request = binary.BigEndian.AppendUint16(request, uint16(key))
	request = binary.BigEndian.AppendUint16(request, uint16(version))
	request = binary.BigEndian.AppendUint32(request, correlation)
	request = append(appendString(request, clientID), body...)
	binary.BigEndian.PutUint32(request, uint32(len(request)-4))
	if _, err := conn.Write(request); err != nil {
		return nil, err
	}
	var size [4]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxResponse {
		return nil, errResponse
	}
	d := &answer{p: make([]byte, n)}
	if _, err := io.ReadFull(conn, d.p); err != nil {
		return nil, err
	}
	if d.int32() != correlation {
		return nil, errResponse
	}
	return d, nil
}

func appendString(p []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(p, uint16(len(s))), s...)
}

// answer is read from its front. After a mistake it gives zeros.
type answer struct {
	p   []byte
	bad bool
}

// bytes of a negative length are null.
func (d *answer) bytes(n int) []byte {
	if n < 0 {
		return nil
	}
	if n > len(d.p) {
		d.bad, d.p = true, nil
		return nil
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
}

func (d *answer) int16() int16 {
	if p := d.bytes(2); p != nil {
		return int16(binary.BigEndian.Uint16(p))
	}
	return 0
}

func (d *answer) int32() int32 {
	if p := d.bytes(4); p != nil {
		return int32(binary.BigEndian.Uint32(p))
	}
	return 0
}

func (d *answer) int64() int64 {
	if p := d.bytes(8); p != nil {
		return int64(binary.BigEndian.Uint64(p))
	}
	return 0
}

func (d *answer) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[n:]
	return v
}

// length is a number of bytes, of at most what can still come, or one more: then what is
// read next is a mistake.
func (d *answer) length() int { return int(min(d.uvarint(), uint64(len(d.p))+1)) }

// array is the length of a compact array, of at most what can still come.
func (d *answer) array() int { return max(0, d.length()-1) }

// count is how many tagged fields there are, of at most what can still come.
func (d *answer) count() int {
	n := d.uvarint()
	if n > uint64(len(d.p)) {
		d.bad, d.p = true, nil
		return 0
	}
	return int(n)
}

// tags passes over tagged fields.
func (d *answer) tags() {
	for range d.count() {
		d.uvarint()
		d.bytes(d.length())
	}
}
