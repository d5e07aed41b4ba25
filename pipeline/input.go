package pipeline

import "context"

// From adds an input: the records of a topic, their values decoded by serde. The
// input's name, in errors and dead letters, is the topic. A record whose value
// cannot be decoded is the input's error, and its policy decides.
func From[T any](p *Pipeline, topic string, serde Serde[T], opts ...StageOption) Stream[T] {
	n := p.add(&node{name: topic, kind: kindInput, label: "input", topics: []string{topic}, serde: serde, decode: decodesAny(serde), ports: []*port{newPort[T]()}})
	n.configure(opts)
	n.nameRetries()
	if n.cfg.partitioner != nil || n.cfg.headers != nil {
		p.mistake("input %q: PartitionBy and AddHeader are options of outputs", topic)
	}
	n.cfg.oneToOne = true
	n.instantiate = func(sc *StageContext, next []any) any { return decoder(sc, topic, serde, next[0].(Next[T])) }
	return Stream[T]{n: n}
}

func decoder[T any](sc *StageContext, topic string, serde Serde[T], next Next[T]) Next[[]byte] {
	if serde == nil {
		return nil // reported by Validate
	}
	scratch := new(Record[T])
	_, nullable := serde.(Nullable)
	pointer, isPointer := serde.(PointerDecoder[T])
	decode := Guard(sc, func(ctx context.Context, raw *Raw) (none struct{}, err error) {
		at := Slot{Topic: topic, Headers: &raw.Headers}
		var zero T
		scratch.Value = zero // the last one's is the chain's
		if isPointer {
			return none, pointer.DecodePointer(ctx, at, raw.Value, &scratch.Value)
		}
		scratch.Value, err = serde.Decode(ctx, at, raw.Value)
		return none, err
	})
	return func(ctx context.Context, raw *Raw) error {
		if raw.Value == nil && !nullable {
			return sc.tombstone()
		}
		if _, err := decode(ctx, raw); err != nil {
			return err
		}
		scratch.Key, scratch.Headers, scratch.Timestamp, scratch.Origin = raw.Key, raw.Headers, raw.Timestamp, raw.Origin
		return next(ctx, scratch)
	}
}

func (sc *StageContext) tombstone() error {
	err := sc.Fail(ErrTombstone)
	if sc.node.cfg.hasTombs {
		err.(*StageError).policy = sc.node.cfg.tombstones
	}
	return err
}

// Through writes a stream to a topic that exists and reads it back as a new
// input: it repartitions by key and is a To and a From in one. Options of outputs
// are for the one, of inputs for the other, OnError and Timeout for both.
func Through[T any](s Stream[T], topic string, serde Serde[T], opts ...StageOption) Stream[T] {
	p := s.Pipeline()
	if p == nil {
		return Stream[T]{}
	}
	To(s, topic, serde, stageOptionFunc(func(c *stageConfig) {
		c.apply(opts)
		c.hasTombs, c.retries, c.order = false, nil, nil
	}))
	return From(p, topic, serde, stageOptionFunc(func(c *stageConfig) {
		c.apply(opts)
		c.partitioner, c.headers = nil, nil
	}))
}

// input returns the input that reads a topic, and the topic's number among its retry topics
// or -1.
func (p *Pipeline) input(topic string) (n *node, tier int) {
	for _, n := range p.nodes {
		if n.kind != kindInput {
			continue
		}
		if i, ok := n.tier(topic); ok {
			return n, i
		}
	}
	return nil, 0
}
