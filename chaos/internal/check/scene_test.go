package check

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// scene is the evidence of a small run in which nothing went wrong: plants change it.
type scene struct {
	t testing.TB
	Evidence
}

const (
	scenePartitions = 3
	sceneInputs     = 300
	sceneOutputs    = 2 // partitions of each output
	sceneUnit       = 10
)

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func newScene(t *testing.T) *scene {
	t.Helper()
	g := workload.Usual(7, scenePartitions)
	g.Keys, g.Large, g.Swells, g.Poison = 30, 0, 0.01, 0.02
	units := history.NewUnits()
	s := &scene{t: t, Evidence: Evidence{
		Expectation: NewExpectation(true),
		History: &history.History{
			Reread: &history.Log{Name: "reread", Units: units},
			Live:   []*history.Log{{Name: "live", Units: units}},
		},
		Faults:   []Fault{{Name: "a kill", Began: noon.Add(10 * time.Second), Healed: noon.Add(11 * time.Second)}},
		Bounds:   Bounds{Goroutines: 100, Heap: 1 << 20, RSS: 2 << 20},
		Counters: []Counter{{Name: "kills", Got: 1, Least: 1}},
	}}
	for topic := range s.Reread.Records {
		s.Reread.Records[topic] = make([][]history.Record, sceneOutputs)
	}
	var offsets [scenePartitions]int64
	var manifests [scenePartitions]workload.Manifest
	var counts [scenePartitions]workload.Counts
	for p := range counts {
		counts[p] = workload.Counts{}
	}
	for n := range uint64(sceneInputs) {
		in := g.Input(n)
		p, offset := in.Partition, offsets[in.Partition]
		offsets[p]++
		s.Expectation.Add(p, offset, in.Key, in.Value)
		m := &manifests[p]
		if m.Unit == "" {
			*m = workload.Manifest{Unit: fmt.Sprintf("w-%d-%d", p, offset), Partition: p, First: offset}
		}
		m.Last = offset
		workload.Model(in.Value, counts[p].Next(in.Key, in.Value), func(out workload.Expected) { s.write(m, offset, in.Key, out) })
		if offset%sceneUnit == sceneUnit-1 {
			s.commit(m, offsets[:])
		}
	}
	for p := range manifests {
		if manifests[p].Unit != "" {
			s.commit(&manifests[p], offsets[:])
		}
	}
	s.sample(noon.Add(time.Hour), offsets[:])
	for topic := range s.Reread.Records {
		for _, records := range s.Reread.Records[topic] {
			s.Live[0].Records[topic] = append(s.Live[0].Records[topic], slices.Clone(records))
		}
	}
	w := &history.Worker{Name: "w"}
	s.Workers = append(s.Workers, w)
	s.says(workload.Status{At: noon, Incarnation: "1", Goroutines: 50, Heap: 1 << 19, RSS: 1 << 20, Commits: 9, Aborted: []string{"w-never-seen"}})
	return s
}

// write appends an output to the log.
func (s *scene) write(m *workload.Manifest, source int64, key []byte, out workload.Expected) {
	r := history.Record{Source: source, Key: history.Hash(key), Value: history.Hash(out.Value), Partition: m.Partition, Index: int32(out.Index)}
	switch out.Topic {
	case workload.Left:
		m.Left++
	case workload.Right:
		m.Right++
	}
	if out.Topic != workload.DeadLetters {
		r.Unit = s.Reread.Units.ID([]byte(m.Unit))
	}
	// Not by history.Hash, which is another in each process: the scene is always the same.
	s.put(out.Topic, int(crc32.ChecksumIEEE(key)%uint32(len(s.Reread.Records[out.Topic]))), r)
}

func (s *scene) put(topic, partition int, r history.Record) {
	records := &s.Reread.Records[topic][partition]
	r.Offset = int64(len(*records))
	*records = append(*records, r)
}

// hand ends a unit with its manifest.
func (s *scene) hand(m *workload.Manifest) {
	s.Reread.Manifests = append(s.Reread.Manifests, *m)
	s.put(workload.Manifests, 0, history.Record{Source: m.First, Partition: m.Partition, Unit: s.Reread.Units.ID([]byte(m.Unit))})
	*m = workload.Manifest{}
}

// commit ends a unit, and takes a sample.
func (s *scene) commit(m *workload.Manifest, offsets []int64) {
	s.hand(m)
	committed := make([]int64, scenePartitions)
	if len(s.Samples) > 0 {
		copy(committed, s.Samples[len(s.Samples)-1].Committed)
	}
	for p := range committed {
		committed[p] = max(committed[p], offsets[p]/sceneUnit*sceneUnit)
	}
	s.sample(noon.Add(time.Duration(len(s.Samples))*time.Second), committed)
}

func (s *scene) sample(at time.Time, committed []int64) {
	sample := history.Sample{At: at, Committed: slices.Clone(committed), Looked: true}
	for range committed {
		sample.Input = append(sample.Input, 1000)
	}
	for topic := range s.Reread.Records {
		for _, records := range s.Reread.Records[topic] {
			sample.High[topic] = append(sample.High[topic], int64(len(records)))
		}
	}
	s.Samples = append(s.Samples, sample)
}

func (s *scene) says(status workload.Status) {
	line, err := json.Marshal(status)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.Workers[0].Write(append(line, '\n')); err != nil {
		s.t.Fatal(err)
	}
}

// spares has no transaction suffer, and the worker's one process say what it counted.
func (s *scene) spares(counted workload.Status) {
	s.Spares = true
	counted.At, counted.Incarnation = noon, "1"
	s.says(counted)
}

// both changes what was seen live as well as what is read again.
func (s *scene) both(change func(*history.Log)) {
	change(s.Reread)
	change(s.Live[0])
}

// moved has the last records of a topic's first partition, some of whose keys are in it
// from before, go into a new partition.
func (s *scene) moved(topic, to int) {
	all := s.Reread.Records[topic][0]
	stay := len(all) * 2 / 3
	s.both(func(l *history.Log) {
		for len(l.Records[topic]) <= to {
			l.Records[topic] = append(l.Records[topic], nil)
		}
		moved := slices.Clone(all[stay:])
		for i := range moved {
			moved[i].Offset = int64(i)
		}
		l.Records[topic][0], l.Records[topic][to] = slices.Clone(all[:stay]), moved
	})
	for i := range s.Samples {
		sample := &s.Samples[i]
		if len(sample.High[topic]) == 0 {
			continue
		}
		high := slices.Clone(sample.High[topic])
		for len(high) <= to {
			high = append(high, history.Unknown)
		}
		if high[0] > int64(stay) {
			high[0], high[to] = int64(stay), high[0]-int64(stay)
		}
		sample.High[topic] = high
	}
}
