package pipelinetest

import (
	"context"
	"sync"

	"github.com/leat-stream/leat/pipeline"
)

// Into has the worker write to a sink of another kind, a database say, in the place of
// the cluster's topics, and makes the calls of that sink steps, which go wrong as the
// cluster's do: for [EveryStep], with a Check that looks into the database. newSink is
// called for every run, and must return what is of that run alone.
//
// [Fence] lets another sink of newSink take the worker's partitions, if it is a
// [pipeline.PositionSink], and the step itself goes on: it is the sink that has to find out.
// [LateEnd] is as [Ambiguous]. A crash closes the sink.
func Into(newSink func() pipeline.Sink) Option {
	return func(w *Worker) { w.into = newSink }
}

// sink returns the worker's end of the pipeline.
func (w *Worker) sink() pipeline.Sink {
	if w.into == nil {
		return &sink{c: w.c, w: w}
	}
	s := &foreign{Sink: w.into(), w: w}
	tx, ok := s.Sink.(pipeline.TransactionalSink)
	if !ok {
		return s
	}
	ft := &foreignTransactional{s, tx}
	if keeper, ok := tx.(pipeline.PositionSink); ok {
		k := &foreignKeeper{foreignTransactional: ft, sink: keeper, taken: map[pipeline.Partition]pipeline.Beginning{}}
		w.fence = k.fence
		return k
	}
	return ft
}

// foreign is a sink whose calls are steps.
type foreign struct {
	pipeline.Sink
	w    *Worker
	spec pipeline.Spec
}

func (s *foreign) step(ctx context.Context, e Event, effect func() error) error {
	return s.w.c.step(ctx, s.w, e, effect)
}

func (s *foreign) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	s.spec = spec
	return s.Sink.Open(ctx, spec)
}

func (s *foreign) Send(ctx context.Context, outputs []pipeline.Output) error {
	return s.step(ctx, Event{Step: StepSend, Records: len(outputs)}, func() error { return s.Sink.Send(ctx, outputs) })
}

func (s *foreign) Flush(ctx context.Context) error {
	return s.step(ctx, Event{Step: StepFlush}, func() error { return s.Sink.Flush(ctx) })
}

type foreignTransactional struct {
	*foreign
	tx pipeline.TransactionalSink
}

func (s *foreignTransactional) Init(ctx context.Context) error {
	return s.step(ctx, Event{Step: StepInit}, func() error { return s.tx.Init(ctx) })
}

func (s *foreignTransactional) Begin(ctx context.Context) error {
	return s.step(ctx, Event{Step: StepBegin}, func() error { return s.tx.Begin(ctx) })
}

func (s *foreignTransactional) SendOffsets(ctx context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	return s.step(ctx, Event{Step: StepOffsets, Offsets: offsets}, func() error { return s.tx.SendOffsets(ctx, offsets, group) })
}

func (s *foreignTransactional) Commit(ctx context.Context) error {
	return s.step(ctx, Event{Step: StepCommit}, func() error { return s.tx.Commit(ctx) })
}

func (s *foreignTransactional) Abort(ctx context.Context) error {
	return s.step(ctx, Event{Step: StepAbort}, func() error { return s.tx.Abort(ctx) })
}

type foreignKeeper struct {
	*foreignTransactional
	sink pipeline.PositionSink

	mu    sync.Mutex
	taken map[pipeline.Partition]pipeline.Beginning
}

func (s *foreignKeeper) Take(ctx context.Context, b pipeline.Beginning) (next int64, err error) {
	err = s.step(ctx, Event{Step: StepTake, Partition: b.Partition}, func() (err error) {
		s.mu.Lock()
		s.taken[b.Partition] = b
		s.mu.Unlock()
		next, err = s.sink.Take(ctx, b)
		return err
	})
	return next, err
}

// fence has another take what this one has.
func (s *foreignKeeper) fence(ctx context.Context) error {
	rival := s.w.into().(pipeline.PositionSink)
	if _, err := rival.Open(ctx, s.spec); err != nil {
		return err
	}
	defer rival.Close()
	if err := rival.Init(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.taken {
		if _, err := rival.Take(ctx, b); err != nil {
			return err
		}
	}
	return nil
}
