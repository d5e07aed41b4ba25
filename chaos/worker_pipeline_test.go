//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"testing"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/pipeline"
)

func compileWorker(t *testing.T, o workerOptions) (*pipeline.Task, *reporter) {
	t.Helper()
	counts := o.topics.Counts != ""
	if o.topics = workload.NewTopics("t"); counts {
		o.topics = o.topics.WithCounts("t")
	}
	w := newReporter("w", "1", io.Discard)
	task, err := newPipeline(o, w).Compile(pipeline.Partition{Topic: o.topics.Input, Partition: 3}, pipeline.TaskConfig{MaxRecordSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	return task, w
}

func inputRecord(offset int64, in workload.Input) *pipeline.Raw {
	return &pipeline.Raw{Key: in.Key, Value: in.Value, Origin: pipeline.Origin{Topic: "t.input", Partition: 3, Offset: offset}}
}

// TestPipelineAndModelAgree is the one place where the two implementations meet: each
// input through both.
func TestPipelineAndModelAgree(t *testing.T) {
	g := workload.Generator{Seed: 5, Partitions: 9, Keys: 100, Nulls: 0.1, Dropped: 0.1, Poison: 0.1, Swells: 0.01, Large: 0.01}
	topics := workload.NewTopics("t").WithCounts("t")
	for _, stateful := range []bool{true, false} {
		o := workerOptions{manifests: stateful}
		if stateful {
			o.topics = topics
		}
		task, _ := compileWorker(t, o)
		kinds, counts := map[workload.Kind]int{}, workload.Counts{}
		for n := range uint64(2000) {
			in := g.Input(n)
			kinds[workload.KindOf(in.Value)]++
			if err := task.Process(t.Context(), inputRecord(int64(n), in)); err != nil {
				t.Fatal(err)
			}
			outs := slices.DeleteFunc(slices.Clone(task.Outputs()), func(o pipeline.Output) bool { return o.Topic == topics.Counts })
			var count uint64
			if stateful {
				count = counts.Next(in.Key, in.Value)
			}
			workload.Model(in.Value, count, func(want workload.Expected) {
				if len(outs) == 0 {
					t.Fatalf("input %d of kind %q: %+v is missing", n, rune(workload.KindOf(in.Value)), want)
				}
				got := outs[0]
				outs = outs[1:]
				index, hasIndex := got.Headers.Get(workload.HeaderIndex)
				source, _ := got.Headers.Get(workload.HeaderOffset)
				if want.Topic == workload.DeadLetters {
					index, hasIndex = []byte("0"), true
					source, _ = got.Headers.Get(workload.DeadLetterOffset)
				}
				if got.Topic != topics.Outputs[want.Topic] || !bytes.Equal(got.Value, want.Value) || (got.Value == nil) != (want.Value == nil) ||
					!bytes.Equal(got.Key, in.Key) || !hasIndex || string(index) != strconv.Itoa(want.Index) || string(source) != strconv.FormatUint(n, 10) {
					t.Fatalf("input %d of kind %q: output %s of offset %s in %s with %d bytes is not the model's %d in %d with %d bytes", n,
						rune(workload.KindOf(in.Value)), index, source, got.Topic, len(got.Value), want.Index, want.Topic, len(want.Value))
				}
			})
			if len(outs) > 0 {
				t.Fatalf("input %d: %d outputs more than the model's", n, len(outs))
			}
			task.Clear()
		}
		if len(kinds) != 5 {
			t.Errorf("only these kinds: %v", kinds)
		}
	}
}

// TestUnitsAndTheirManifests follows units through commits and aborts.
func TestUnitsAndTheirManifests(t *testing.T) {
	task, w := compileWorker(t, workerOptions{manifests: true})
	number := func(n byte) []byte { return []byte{byte(workload.Regular), 0, 0, 0, 0, 0, 0, 0, n, 'x'} }
	process := func(offset int64, value []byte) {
		t.Helper()
		if err := task.Process(t.Context(), inputRecord(offset, workload.Input{Value: value})); err != nil {
			t.Fatal(err)
		}
	}
	manifest := func() (m workload.Manifest) {
		t.Helper()
		if err := task.BeforeCommit(t.Context()); err != nil {
			t.Fatal(err)
		}
		outs := task.Outputs()
		if err := json.Unmarshal(outs[len(outs)-1].Value, &m); err != nil {
			t.Fatal(err)
		}
		for _, o := range outs[:len(outs)-1] {
			if unit, ok := o.Headers.Get(workload.HeaderUnit); o.Topic != "t.dead" && (!ok || string(unit) != m.Unit) {
				t.Errorf("an output in unit %q is handed over with %q", unit, m.Unit)
			}
		}
		task.Clear()
		return m
	}
	reported := func() []string { return w.status().Aborted }

	process(10, number(2))                                        // left, right, left
	process(11, []byte("poison..."))                              // a dead letter
	process(12, []byte{'s', 0, 0, 0, 0, 0, 0, 0, 5, 'x', 'x'}[:]) // all of its outputs are dropped
	process(13, number(3))                                        // right
	process(14, []byte("d12345678"))                              // nothing
	first := manifest()
	if want := (workload.Manifest{Unit: first.Unit, Partition: 3, First: 10, Last: 14, Left: 2, Right: 2}); first != want {
		t.Errorf("manifest %v, want %v", first, want)
	}
	task.Committed()
	process(15, number(0))
	second := manifest()
	process(16, number(0)) // in a third, not handed over
	task.Aborted()
	if got := reported(); len(got) != 2 || got[0] != second.Unit || got[1] == second.Unit {
		t.Errorf("aborted %q, want %q and the one after it", got, second.Unit)
	}
	process(15, number(0))
	if again := manifest(); again.First != 15 || again.Last != 15 || slices.Contains([]string{first.Unit, second.Unit}, again.Unit) {
		t.Errorf("after the abort: %v", again)
	}
	task.Committed()
	if err := task.BeforeCommit(t.Context()); err != nil || len(task.Outputs()) > 0 {
		t.Errorf("a manifest of nothing: %v, %v", task.Outputs(), err)
	}
	task.Aborted()
	if got := reported(); slices.Contains(got, first.Unit) || slices.Contains(got, second.Unit) {
		t.Errorf("aborted %q: what is committed, or was reported before", got)
	}
}
