package kafkasource

import (
	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// headerSpace makes records' headers without an allocation for each record: keys,
// of which a topic has few, are kept as strings, and slices are cut from larger
// ones. Those are never used again, so that a record may be kept.
type headerSpace struct {
	keys map[string]string
	free pipeline.Headers
}

const (
	maxInterned = 256
	headerSlab  = 512
)

func (s *headerSpace) of(in []*sarama.RecordHeader) pipeline.Headers {
	n := len(in)
	if n == 0 {
		return nil
	}
	if n > len(s.free) {
		s.free = make(pipeline.Headers, max(n, headerSlab))
	}
	out := s.free[:n:n]
	s.free = s.free[n:]
	for i, h := range in {
		out[i] = pipeline.Header{Key: s.key(h.Key), Value: h.Value}
	}
	return out
}

func (s *headerSpace) key(b []byte) string {
	if k, ok := s.keys[string(b)]; ok {
		return k
	}
	k := string(b)
	if s.keys == nil {
		s.keys = map[string]string{}
	}
	if len(s.keys) < maxInterned {
		s.keys[k] = k
	}
	return k
}
