package pipeline

import "iter"

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Headers are a record's headers in order. A key may occur more than once.
//
// Headers are shared between the branches of a pipeline, so the methods that
// change them return a copy and leave the receiver as it is, in the manner of
// append on a full slice. The zero value has no headers.
type Headers []Header

// Get returns the value of the last header with the key: the last writer wins,
// as in Kafka's Headers.lastHeader.
func (h Headers) Get(key string) (value []byte, ok bool) {
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].Key == key {
			return h[i].Value, true
		}
	}
	return nil, false
}

// All returns the values of every header with the key, in order.
func (h Headers) All(key string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range h {
			if h[i].Key == key && !yield(h[i].Value) {
				return
			}
		}
	}
}

// Add returns headers with one more at the end; those with the same key stay.
// It allocates a copy.
func (h Headers) Add(key string, value []byte) Headers {
	out := make(Headers, len(h), len(h)+1)
	copy(out, h)
	return append(out, Header{Key: key, Value: value})
}

// Set returns headers in which the key occurs once, at the end: every earlier
// one is left out. All others keep their order. It allocates a copy.
func (h Headers) Set(key string, value []byte) Headers {
	return append(h.without(1, key), Header{Key: key, Value: value})
}

// Del returns headers without any of the keys, in order. It allocates a copy.
func (h Headers) Del(keys ...string) Headers { return h.without(0, keys...) }

func (h Headers) without(room int, keys ...string) Headers {
	out := make(Headers, 0, len(h)+room)
next:
	for _, x := range h {
		for _, k := range keys {
			if x.Key == k {
				continue next
			}
		}
		out = append(out, x)
	}
	return out
}
