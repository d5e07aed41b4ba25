package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Output is a record on its way to the sink. Its slices are not modified or
// reused by Leat, so that a sink may keep them.
type Output struct {
	Topic string
	// Key and Value are serialized; nil is null.
	Key, Value []byte
	Headers    Headers
	Timestamp  time.Time
	// Partitioner chooses the partition; nil means the sink's default.
	Partitioner Partitioner
	// Origin is the input record that it comes from.
	Origin Origin
}

// Size is an upper bound of what the output takes in a record batch of its own,
// uncompressed: what Kafka's max.request.size is compared with.
func (o *Output) Size() int { return recordSize(o.Key, o.Value, o.Headers) }

const (
	batchOverhead  = 61 // a v2 record batch without records
	recordOverhead = 21 // longest length, attributes, timestamp and offset deltas, header count
	varintMax      = 5
)

func recordSize(key, value []byte, headers Headers) int {
	n := batchOverhead + recordOverhead + 2*varintMax + len(key) + len(value)
	for i := range headers {
		n += 2*varintMax + len(headers[i].Key) + len(headers[i].Value)
	}
	return n
}

// To ends a stream in a topic: the sink writes its records there, with their key,
// headers and timestamp, encoded by serde. The topic must exist. A stream may end
// in several topics, and several streams in one.
func To[T any](s Stream[T], topic string, serde Serde[T], opts ...StageOption) {
	ToEach(s, topic, func(*Record[T]) string { return topic }, []string{topic}, serde, opts...)
}

// ToEach ends a stream in a topic chosen for each record, which must be one of
// topics; any other is the record's error [ErrUnknownTopic]. stages.Route is the
// usual way to write it.
func ToEach[T any](s Stream[T], name string, topicOf func(*Record[T]) string, topics []string, serde Serde[T], opts ...StageOption) {
	if s.n == nil {
		return
	}
	p := s.n.p
	n := p.add(&node{name: name, kind: kindOutput, label: "output", topics: topics, serde: serde})
	n.configure(opts)
	if n.cfg.hasTombs {
		p.mistake("output %q: Tombstones is an option of inputs", name)
	}
	n.refuseRetries()
	fixed := len(topics) == 1 && topics[0] == name
	n.instantiate = func(sc *StageContext, _ []any) any {
		if serde == nil {
			return nil // reported by Validate
		}
		if fixed {
			return encoder(sc, func(*Record[T]) (string, error) { return name, nil }, serde)
		}
		return encoder(sc, func(r *Record[T]) (string, error) {
			topic := topicOf(r)
			if !slices.Contains(topics, topic) {
				return "", fmt.Errorf("%w (%s)", ErrUnknownTopic, strings.Join(topics, ", ")) // the choice may come from the payload
			}
			return topic, nil
		}, serde)
	}
	s.feed(n)
}

// encoder stages one output for each record.
func encoder[T any](sc *StageContext, topicOf func(*Record[T]) (string, error), serde Serde[T]) Next[T] {
	t, part, added := sc.task, sc.node.cfg.partitioner, sc.node.cfg.headers
	if part == SamePartition {
		part = samePartition{t.partition.Partition}
	}
	viewer, isViewer := serde.(Viewer[T])
	pointer, isPointer := serde.(PointerEncoder[T])

	// encode leaves topic and headers to the function below, so that Guard can
	// run it again. It must not hold a place in the task's outputs: those before
	// it are handed over while it waits.
	var topic string
	var headers Headers
	var out *Outgoing // nil if nobody wants to see it
	if t.intercept != nil {
		out = &Outgoing{unbox: unbox[T]}
	}
	encode := Guard(sc, func(ctx context.Context, r *Record[T]) (value []byte, err error) {
		if out == nil || !out.shown { // else it is tried again
			if topic, err = topicOf(r); err != nil {
				return nil, err
			}
			headers = r.Headers
			if len(added) > 0 {
				headers = slices.Concat(headers, added)
			}
			if out != nil {
				if err = show(ctx, t, out, r, topic, headers); err != nil {
					return nil, err
				}
			}
		}
		if out != nil {
			topic, headers = out.Topic, out.Headers
		}
		if isViewer {
			return viewer.View(r.Value), nil
		}
		dst := t.arena.open()
		var enc []byte
		at := Slot{Topic: topic, Headers: &headers}
		if isPointer {
			enc, err = pointer.AppendPointer(ctx, dst, at, &r.Value)
		} else {
			enc, err = serde.Append(ctx, dst, at, r.Value)
		}
		if err != nil {
			return nil, err
		}
		return t.arena.close(dst, enc), nil
	})
	return func(ctx context.Context, r *Record[T]) error {
		at := r.Timestamp
		if out != nil {
			out.shown = false
		}
		value, err := encode(ctx, r)
		if err != nil {
			return err
		}
		if out != nil {
			at = out.Timestamp
		}
		if size := recordSize(r.Key, value, headers); size > t.maxRecord {
			return sc.Failf("%w: %d bytes for topic %q, more than MaxRequestSize (%d)", ErrTooLarge, size, topic, t.maxRecord)
		}
		o := t.reserve()
		o.Topic, o.Key, o.Value, o.Headers, o.Timestamp, o.Origin = topic, r.Key, value, headers, at, r.Origin
		o.Partitioner = part
		return nil
	}
}
