package instruments

import (
	"maps"
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// view is a run as of now, read once for all instruments.
type view struct {
	run      *pipeline.Running
	snap     pipeline.Snapshot
	producer *kafka.Metrics // nil if the sink has none
	topics   []topic
}

// topic is what is known of an input topic's partitions.
type topic struct {
	name                            string
	partitions, lag, maxLag, notDue float64
	silence                         time.Duration
}

// metered is a sink with a producer that counts.
type metered interface{ Metrics() kafka.Metrics }

func look(r *pipeline.Running) *view {
	v := &view{run: r, snap: r.Stats.Snapshot()}
	if s, ok := r.Sink.(metered); ok {
		m := s.Metrics()
		v.producer = &m
	}
	for _, name := range r.Pipeline.Inputs() {
		v.topics = append(v.topics, topic{name: name})
	}
	for _, c := range v.snap.Claims {
		i := slices.IndexFunc(v.topics, func(t topic) bool { return t.name == c.Topic })
		if i < 0 {
			continue
		}
		t := &v.topics[i]
		t.partitions++
		if !c.Due.IsZero() { // it waits, as it should
			t.notDue += max(0, float64(c.Lag))
			continue
		}
		if c.Lag >= 0 {
			t.lag += float64(c.Lag)
			t.maxLag = max(t.maxLag, float64(c.Lag))
		}
		if !c.Heard.IsZero() {
			t.silence = max(t.silence, v.snap.At.Sub(c.Heard))
		}
	}
	return v
}

// value is a number, or a distribution for a histogram.
type value struct {
	number float64
	dist   pipeline.Distribution
}

// emit takes a value with those of its labels.
type emit func(v value, labels ...string)

func number[N int | int64 | float64](n N) value { return value{number: float64(n)} }

func one(get func(*pipeline.Snapshot) int64) func(*view, emit) {
	return func(v *view, put emit) { put(number(get(&v.snap))) }
}

func runs(v *view, put emit) {
	for p := pipeline.PhaseOpening; p < pipeline.PhaseEnded; p++ {
		n := 0
		if p == v.snap.Phase {
			n = 1
		}
		put(number(n), p.String())
	}
}

func recordTime(v *view, put emit) { put(value{dist: v.snap.RecordTime}) }

func stages(get func(*pipeline.StageStats) float64) func(*view, emit) {
	return func(v *view, put emit) {
		for i := range v.snap.Stages {
			s := &v.snap.Stages[i]
			put(number(get(s)), s.Name, s.Kind)
		}
	}
}

// failures are counted by name, and outputs may share one: the first has the count.
func failures(get func(*pipeline.StageStats) int64) func(*view, emit) {
	return func(v *view, put emit) {
		seen := map[string]bool{}
		for i := range v.snap.Stages {
			s := &v.snap.Stages[i]
			n := get(s)
			if seen[s.Name] {
				n = 0
			}
			seen[s.Name] = true
			put(number(n), s.Name, s.Kind)
		}
	}
}

func deadLetters(v *view, put emit) {
	failures(func(s *pipeline.StageStats) int64 { return s.DeadLetters })(v, put)
	ofNoStage(v, v.snap.DeadLettersByStage, put)
}

func retriedLater(v *view, put emit) {
	failures(func(s *pipeline.StageStats) int64 { return s.RetriedLater })(v, put)
	ofNoStage(v, v.snap.RetriedLaterByStage, put)
}

// ofNoStage puts the counts of a middleware, and of outputs that the sink refused, which go by
// their topic.
func ofNoStage(v *view, counts map[string]int64, put emit) {
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if slices.ContainsFunc(v.snap.Stages, func(s pipeline.StageStats) bool { return s.Name == name }) {
			continue
		}
		kind := "output"
		if name == "middleware" {
			kind = name
		}
		put(number(counts[name]), name, kind)
	}
}

func topics(get func(*topic) float64) func(*view, emit) {
	return func(v *view, put emit) {
		for i := range v.topics {
			put(number(get(&v.topics[i])), v.topics[i].name)
		}
	}
}

// causes are the words of TransactionEnd.Reason. Each is there from the start: who looks
// for an increase does not see a first one that comes with its series.
var causes = []string{"begin", "send", "partition", "flush", "offsets", "commit", "rejected", "end of session"}

func reasons(get func(*pipeline.Snapshot) map[string]int64) func(*view, emit) {
	return func(v *view, put emit) {
		counts := get(&v.snap)
		for _, c := range causes {
			put(number(counts[c]), c)
		}
		for _, c := range slices.Sorted(maps.Keys(counts)) {
			if !slices.Contains(causes, c) {
				put(number(counts[c]), c)
			}
		}
	}
}

func uncommitted(v *view, put emit) {
	age := 0.
	if since := v.snap.UncommittedSince; !since.IsZero() {
		age = max(0, v.snap.At.Sub(since).Seconds())
	}
	put(number(age))
}

func ends(get func(*pipeline.TransactionTotals) pipeline.Distribution) func(*view, emit) {
	return func(v *view, put emit) {
		for i := range v.snap.Transactions {
			t := &v.snap.Transactions[i]
			put(value{dist: get(t)}, t.Outcome.String())
		}
	}
}

func tables(get func(pipeline.TableStats) (float64, bool)) func(*view, emit) {
	return func(v *view, put emit) {
		for _, name := range slices.Sorted(maps.Keys(v.snap.Tables)) {
			if n, ok := get(v.snap.Tables[name]); ok {
				put(number(n), name)
			}
		}
	}
}

func caches(get func(*pipeline.CacheStats) int64) func(*view, emit) {
	return func(v *view, put emit) {
		for i := range v.snap.Stages {
			if s := &v.snap.Stages[i]; s.Cache != nil {
				put(number(get(s.Cache)), s.Name)
			}
		}
	}
}

func producer(get func(*kafka.Metrics) int64) func(*view, emit) {
	return func(v *view, put emit) {
		if v.producer != nil {
			put(number(get(v.producer)))
		}
	}
}

func producerTime(get func(*kafka.Metrics) time.Duration) func(*view, emit) {
	return func(v *view, put emit) {
		if v.producer != nil {
			put(number(get(v.producer).Seconds()))
		}
	}
}
