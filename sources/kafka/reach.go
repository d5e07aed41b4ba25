package kafkasource

import "github.com/leat-stream/leat/pipeline"

// Reach implements pipeline.LagMeter.
func (s *Source) Reach(p pipeline.Partition) (pipeline.Reach, bool) {
	if f := s.fetch.Load(); f != nil {
		return f.reach(p)
	}
	return pipeline.Reach{}, false
}

func (f *fetcher) reach(p pipeline.Partition) (r pipeline.Reach, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	d := f.byPart[p]
	if d == nil {
		return r, false
	}
	return pipeline.Reach{End: d.end, Read: d.next, Held: d.taken || len(d.chunks) > 0, Heard: d.heard}, true
}
