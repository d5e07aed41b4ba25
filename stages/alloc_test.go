package stages_test

import (
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/stages"
)

// What a record costs in the stages whose costs are not measured elsewhere, and that of its
// outputs with them: their arena's chunk is one allocation for some thousands.
func TestStageAllocations(t *testing.T) {
	const records = 1000
	type samples = pipeline.Stream[sample]
	for name, c := range map[string]struct {
		build func(samples) samples
		most  float64
	}{
		"Branch": {func(s samples) samples {
			both := stages.Branch(s, "branch", 2, func(sample) int { return 1 })
			return stages.Merge("merge", both...)
		}, 0},
		"Split and Merge": {func(s samples) samples {
			yes, no := stages.Split(s, "split", sampleWanted)
			return stages.Merge("merge", yes, no)
		}, 0},
		"Peek": {func(s samples) samples { return stages.Peek(s, "peek", func(sample) {}) }, 0},
		"Route": {func(s samples) samples {
			stages.Route(s, "route", func(sample) string { return "a" }, []string{"a", "b"}, sampleSerde{})
			return s
		}, 0},
		"KeyBy": {func(s samples) samples {
			return stages.KeyBy(s, "key", func(v sample) sample { return v }, sampleSerde{})
		}, 0.01}, // a chunk for 250
		"FlatMapEmit": {func(s samples) samples {
			return stages.FlatMapEmit(s, "twice", func(v sample, emit func(sample)) error {
				emit(v)
				emit(v)
				return nil
			})
		}, 0},
		"JoinLatest": {func(s samples) samples {
			left, right := stages.Split(s, "sides", sampleWanted)
			return stages.JoinLatest(left, stages.Merge("right", right, left), "join", sampleSerde{}, sampleSerde{},
				func(l, _ sample) (sample, error) { return l, nil }, latestIn)
		}, 2}, // of each update, of which there are two, what is kept
	} {
		t.Run(name, func(t *testing.T) {
			p := pipeline.New("test")
			pipeline.To(c.build(pipeline.From(p, "in", sampleSerde{})), "out", sampleSerde{})
			task, r := compile(t, p, "in"), benchRecord()
			run := func() {
				for range records {
					if err := task.Process(t.Context(), r); err != nil {
						t.Fatal(err)
					}
				}
				if err := task.BeforeCommit(t.Context()); err != nil {
					t.Fatal(err)
				}
				task.Clear()
				task.Committed()
			}
			run() // what grows has grown
			if per := testing.AllocsPerRun(5, run) / records; per > c.most+0.005 {
				t.Errorf("%.3f allocations for a record, want at most %v", per, c.most)
			}
		})
	}
}
