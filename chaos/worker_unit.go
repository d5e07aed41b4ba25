//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/pipeline"
)

// unit is what a task puts out between two commits.
type unit struct {
	name        string
	first, last int64 // offsets; first is -1 in one without input
	outputs     [2]int
	pending     [2]int // of the record under way: they leave together or not at all
}

// inUnits puts every record into a unit, and puts out the unit's manifest before it is
// committed. It is the first stage, so that it sees every input, and the fate of all
// that comes of it. The engine keeps a stage with hooks from running ahead: what is
// handed over is a whole unit.
func inUnits(s pipeline.Stream[[]byte], w *reporter) (inputs pipeline.Stream[input], manifests pipeline.Stream[[]byte]) {
	return pipeline.Apply2(s, "units", "units", func(sc *pipeline.StageContext, next pipeline.Next[input], manifest pipeline.Next[[]byte]) pipeline.Next[[]byte] {
		t := &units{sc: sc, w: w, manifest: manifest}
		t.begin()
		sc.Hook(pipeline.Hooks{BeforeCommit: t.beforeCommit, Committed: t.committed, Aborted: t.aborted})
		return func(ctx context.Context, r *pipeline.Record[[]byte]) error {
			u := t.current
			u.pending = [2]int{}
			in := pipeline.With(r, input{value: r.Value, unit: u})
			err := next(ctx, &in)
			if err != nil && !settled(ctx, err) {
				return err
			}
			if u.first < 0 {
				u.first = r.Origin.Offset
			}
			u.last = r.Origin.Offset
			if err == nil {
				u.outputs[workload.Left] += u.pending[workload.Left]
				u.outputs[workload.Right] += u.pending[workload.Right]
			}
			return err
		}
	})
}

// settled reports whether an error is the record's own, whose dead letter takes its
// place. Otherwise it is not done, and in no unit yet.
func settled(ctx context.Context, err error) bool {
	_, ok := errors.AsType[*pipeline.StageError](err)
	return ok && ctx.Err() == nil && !pipeline.IsFatal(err) && !pipeline.IsRetriable(err)
}

// units are those of one task.
type units struct {
	sc       *pipeline.StageContext
	w        *reporter
	manifest pipeline.Next[[]byte]
	current  *unit
	handed   []string // not known to be committed
}

func (t *units) begin() {
	t.current = &unit{name: fmt.Sprintf("%s-%d-%d", t.w.process, t.sc.Partition().Partition, t.w.units.Add(1)), first: -1}
}

func (t *units) beforeCommit(ctx context.Context) error {
	u := t.current
	if u.first < 0 {
		return nil
	}
	part := t.sc.Partition()
	value, err := json.Marshal(workload.Manifest{
		Unit: u.name, Partition: part.Partition, First: u.first, Last: u.last, Left: u.outputs[workload.Left], Right: u.outputs[workload.Right],
	})
	if err != nil {
		return err
	}
	t.handed = append(t.handed, u.name)
	t.begin()
	return t.manifest(ctx, &pipeline.Record[[]byte]{
		Value: value, Timestamp: time.Now(),
		Origin: pipeline.Origin{Topic: part.Topic, Partition: part.Partition, Offset: u.last},
	})
}

func (t *units) committed() { t.handed = t.handed[:0] }

// aborted says which units must not be seen. The one that was not handed over yet has
// outputs with its name, too.
func (t *units) aborted() {
	t.w.abort(append(t.handed, t.current.name)...)
	t.handed = t.handed[:0]
	t.begin()
}
