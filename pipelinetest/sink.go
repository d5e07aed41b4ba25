package pipelinetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
)

// sink is a worker's producer.
type sink struct {
	c *Cluster
	w *Worker

	guarantee pipeline.Guarantee
	spread    int // records without a key so far
	// buffer holds what was sent at least once and is not acknowledged. A crash
	// loses it.
	buffer []placed
}

// placed is an output with its partition.
type placed struct {
	log *partitionLog
	entry
}

func (s *sink) Open(_ context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	s.guarantee = spec.Guarantee
	terms := pipeline.Terms{Guarantee: spec.Guarantee, Cluster: clusterID, MaxRecordSize: s.c.cfg.MaxRecordSize, Intercept: s.c.cfg.Intercept}
	if spec.Guarantee == pipeline.ExactlyOnce {
		terms.Limits.Transaction = s.c.cfg.TransactionTimeout
	}
	return terms, s.c.missing(spec.Outputs)
}

func (s *sink) Close() error { return nil }

func (s *sink) Init(ctx context.Context) error {
	return s.c.at(ctx, s.w, Event{Step: StepInit}, func() error {
		s.w.epoch = s.c.takeOver(s.w.txnID())
		return nil
	})
}

// Begin is local, as Kafka's is: the cluster learns of a transaction from its
// first write.
func (s *sink) Begin(ctx context.Context) error {
	return s.c.at(ctx, s.w, Event{Step: StepBegin}, func() error {
		_, err := s.c.current(s.w.txnID(), s.w.epoch)
		return err
	})
}

func (s *sink) Send(ctx context.Context, outputs []pipeline.Output) error {
	return s.c.at(ctx, s.w, Event{Step: StepSend, Records: len(outputs)}, func() error {
		out, err := s.place(outputs)
		if err != nil {
			return err
		}
		if s.guarantee == pipeline.AtLeastOnce {
			s.buffer = append(s.buffer, out...)
			return nil
		}
		p, err := s.c.current(s.w.txnID(), s.w.epoch)
		if err != nil {
			return err
		}
		t := s.c.transaction(p, s.w.name)
		for _, o := range out {
			o.txn = t
			t.logs[o.log] = true
			o.log.append(o.entry)
		}
		t.records += len(out)
		s.c.deliverLate(p)
		s.c.broadcast()
		return nil
	})
}

// place chooses the partitions by the rules of package sinks/kafka, and refuses
// what is too large.
func (s *sink) place(outputs []pipeline.Output) ([]placed, error) {
	out := make([]placed, 0, len(outputs))
	var refused []pipeline.Rejection
	refuse := func(o *pipeline.Output, err error) {
		refused = append(refused, pipeline.Rejection{Origin: o.Origin, Topic: o.Topic, Err: err})
	}
	for i := range outputs {
		o := &outputs[i]
		t := s.c.topics[o.Topic]
		if t == nil {
			return nil, s.c.missing([]string{o.Topic})
		}
		part := pipeline.AnyPartition
		switch {
		case o.Partitioner != nil:
			part = o.Partitioner.Partition(o.Topic, o.Key, o.Value, t.Partitions)
		case o.Key != nil:
			part = murmur2.Partition(o.Key, t.Partitions)
		}
		spread := part == pipeline.AnyPartition
		if spread {
			part = int32(s.spread % int(t.Partitions))
			s.spread++
		}
		switch size := o.Size(); {
		case part < 0 || part >= t.Partitions:
			refuse(o, fmt.Errorf("the partitioner chose %d of topic %q, which has %d", part, o.Topic, t.Partitions))
			continue
		case t.MaxMessageBytes > 0 && size > t.MaxMessageBytes:
			refuse(o, fmt.Errorf("%w: %d bytes, topic %q takes %d", pipeline.ErrTooLarge, size, o.Topic, t.MaxMessageBytes))
			continue
		}
		out = append(out, placed{t.partitions[part], entry{
			Raw:  pipeline.Raw{Key: o.Key, Value: o.Value, Headers: slices.Clone(o.Headers), Timestamp: o.Timestamp},
			from: o.Origin, spread: spread,
		}})
	}
	if len(refused) == 0 {
		return out, nil
	}
	var errs []error
	for _, r := range refused {
		errs = append(errs, r.Err)
	}
	return nil, &pipeline.SinkError{Op: "send", Verdict: pipeline.Abortable, Rejected: refused, Err: errors.Join(errs...)}
}

// Flush acknowledges what was sent at least once. What is not acknowledged when it
// fails has not been written and will not be.
func (s *sink) Flush(ctx context.Context) error {
	defer func() {
		s.c.mu.Lock()
		s.buffer = nil
		s.c.mu.Unlock()
	}()
	return s.c.at(ctx, s.w, Event{Step: StepFlush}, func() error {
		for _, o := range s.buffer {
			o.log.append(o.entry)
		}
		s.c.broadcast()
		return nil
	})
}

func (s *sink) SendOffsets(ctx context.Context, offsets []pipeline.Offset, meta pipeline.GroupMetadata) error {
	return s.c.at(ctx, s.w, Event{Step: StepOffsets, Offsets: slices.Clone(offsets)}, func() error {
		p, err := s.c.current(s.w.txnID(), s.w.epoch)
		if err != nil {
			return err
		}
		if err := s.c.group(meta.Group).check(meta); err != nil {
			return &pipeline.SinkError{Op: "offsets", Verdict: pipeline.Abortable, Err: err}
		}
		t := s.c.transaction(p, s.w.name)
		t.group = meta.Group
		for _, o := range offsets {
			t.offsets[o.Partition] = o.Next
		}
		return nil
	})
}

func (s *sink) Commit(ctx context.Context) error { return s.end(ctx, StepCommit, true) }
func (s *sink) Abort(ctx context.Context) error  { return s.end(ctx, StepAbort, false) }

func (s *sink) end(ctx context.Context, step Step, commit bool) error {
	return s.c.at(ctx, s.w, Event{Step: step}, func() error {
		p, err := s.c.current(s.w.txnID(), s.w.epoch)
		if err == nil {
			s.c.end(p, commit)
		}
		return err
	})
}
