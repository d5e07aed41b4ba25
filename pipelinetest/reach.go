package pipelinetest

import (
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Reach implements pipeline.LagMeter.
func (s *source) Reach(p pipeline.Partition) (r pipeline.Reach, ok bool) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	reading := s.reading[p]
	if reading == nil {
		return r, false
	}
	r = *reading
	r.End, r.Heard = s.c.topics[p.Topic].partitions[p.Partition].end(), time.Now()
	return r, true
}

func (s *source) reads(p pipeline.Partition) *pipeline.Reach {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.reading == nil {
		s.reading = map[pipeline.Partition]*pipeline.Reach{}
	}
	s.reading[p] = new(pipeline.Reach)
	return s.reading[p]
}

func (s *source) readsNoMore(p pipeline.Partition) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	delete(s.reading, p)
}
