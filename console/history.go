package console

import (
	"time"

	"github.com/leat-stream/leat/pipeline"
)

const (
	sampleEvery = time.Second
	// rateWindow is what rates and quantiles are of.
	rateWindow = 5 * time.Second
	// recentWindow is how long a stage's errors count as recent.
	recentWindow = time.Minute
	// maxSamples is what the curve shows, two minutes, and one more to begin with.
	maxSamples = 121
	// timedSamples of the last samples keep their distributions, some kilobytes a stage:
	// as many as the window needs.
	timedSamples = int(rateWindow/sampleEvery) + 3
)

// sample is what is kept of a snapshot.
type sample struct {
	at                          time.Time
	records, outputs, committed int64
	inputBytes, outputBytes     int64
	stages                      []pipeline.StageStats // with Time only if it is young
	passed                      []int64
	recordTime                  pipeline.Distribution
}

func sampleOf(s *pipeline.Snapshot) *sample {
	return &sample{
		at: s.At, records: s.Records, outputs: s.Outputs, committed: s.Committed,
		inputBytes: s.InputBytes, outputBytes: s.OutputBytes, stages: s.Stages, passed: s.Passed, recordTime: s.RecordTime,
	}
}

// stage and edge are zero in a sample from before the run counted its stages.
func (s *sample) stage(i int) (st pipeline.StageStats) {
	if i < len(s.stages) {
		st = s.stages[i]
	}
	return st
}

func (s *sample) edge(i int) (n int64) {
	if i < len(s.passed) {
		n = s.passed[i]
	}
	return n
}

// history are the samples of the last two minutes, the oldest first.
type history struct{ samples []*sample }

func (h *history) add(s *sample) {
	h.samples = append(h.samples, s)
	if len(h.samples) > maxSamples {
		h.samples = append(h.samples[:0], h.samples[1:]...)
	}
	if i := len(h.samples) - 1 - timedSamples; i >= 0 {
		old := *h.samples[i] // the sample itself may be in a view
		old.recordTime = pipeline.Distribution{}
		old.stages = append([]pipeline.StageStats(nil), old.stages...)
		for j := range old.stages {
			old.stages[j].Time = pipeline.Distribution{}
		}
		h.samples[i] = &old
	}
}

// before returns the youngest sample that is at least d older than now, or the oldest
// of all: a run that has just begun is measured since then. It is nil if there is none
// from before now.
func (h *history) before(now time.Time, d time.Duration) *sample {
	for i := len(h.samples) - 1; i >= 0; i-- {
		if now.Sub(h.samples[i].at) >= d {
			return h.samples[i]
		}
	}
	if len(h.samples) > 0 && now.Sub(h.samples[0].at) >= shortestWindow {
		return h.samples[0]
	}
	return nil
}

// shortestWindow is from what time on a rate says something.
const shortestWindow = 500 * time.Millisecond

// curve is the input's rate between each two samples, in records a second.
func (h *history) curve() []int64 {
	if len(h.samples) < 2 {
		return []int64{}
	}
	rates := make([]int64, 0, len(h.samples)-1)
	for i, s := range h.samples[1:] {
		rates = append(rates, int64(perSecond(s.records-h.samples[i].records, s.at.Sub(h.samples[i].at))))
	}
	return rates
}

// perSecond is never negative: a program may give one Stats to one run after another.
func perSecond(n int64, d time.Duration) float64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
