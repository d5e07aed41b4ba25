package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// PositionSink is a [TransactionalSink] that keeps the positions of the input itself,
// beside the outputs and in the same transaction: a database. With it, exactly once
// needs no cluster in common, but a source that asks [Worker.Start] where to begin (see
// [Terms]). The consumer group's positions follow, for those who look at its lag, and
// decide nothing.
type PositionSink interface {
	TransactionalSink
	// Take makes this sink the one that commits the position of a partition for a group.
	// When it returns, whoever has taken the partition before can commit nothing of it any
	// more, and what was being committed then is decided. It returns the position that is
	// stored, or else that of b, which it stores. It may be called from several goroutines
	// at once, and during any method but Init and Close.
	Take(ctx context.Context, b Beginning) (next int64, err error)
}

// Beginning is what a source knows of where it begins a partition.
type Beginning struct {
	Partition
	// Group is the consumer group; [Worker.Start] fills it in.
	Group string
	// TopicID tells a topic from another one that has, or had, its name: whatever is stored of
	// that one is of no use. "" if the source does not know it.
	TopicID string
	// Position is where the source would begin by itself.
	Position int64
}

// tellTimeout bounds how long the group may hold up a worker that tells it a position.
const tellTimeout = 2 * time.Second

// keeping is what a worker knows of the positions that its sink keeps. It is guarded by
// the worker's mu.
type keeping struct {
	sink   PositionSink        // nil if the group keeps them
	starts map[Partition]int64 // what Start has returned in this session
	untold map[Partition]int64 // positions that the group has not heard of
	deaf   bool                // the group did not take the last ones
}

func newKeeping(sink Sink, g Guarantee) keeping {
	k, ok := sink.(PositionSink)
	if !ok || g != ExactlyOnce {
		return keeping{}
	}
	return keeping{sink: k, starts: map[Partition]int64{}, untold: map[Partition]int64{}}
}

// Start returns where a partition begins: at b's Position, which is what the source has
// found, or where the sink says if it is a [PositionSink]. A source whose [Terms] say
// AsksStart calls it for each partition that it is given, within the session and before
// Claim. It tries again until ctx ends, or the session.
func (w *Worker) Start(ctx context.Context, b Beginning) (int64, error) {
	if w.keep.sink == nil {
		return b.Position, nil
	}
	part := b.Partition
	w.mu.RLock()
	session, over := w.session, w.sessionOver
	w.mu.RUnlock()
	if session == nil {
		return 0, fmt.Errorf("pipeline %q: %v: Start is called within a session, after Begin", w.p.name, part)
	}
	b.Group = session.Group().Group
	for try := 0; ; try++ {
		next, err := w.keep.sink.Take(ctx, b)
		switch {
		case err == nil:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.keep.starts[part] = next
			if next != b.Position {
				w.keep.untold[part] = next
			}
			return next, nil
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case isClosed(over):
			return 0, errStopped
		case IsFatal(err):
			return 0, fmt.Errorf("pipeline %q: taking %v: %w", w.p.name, part, err)
		}
		w.log.Warn("partition not taken, trying again", "partition", part, "error", err)
		if !sleep(ctx, unlimitedBackoff.Wait(try)) {
			return 0, context.Cause(ctx)
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

var errNotTaken = errors.New("the sink keeps the positions: begin where Worker.Start says")

// begins reports whether a claim may begin at a position.
func (k *keeping) begins(part Partition, start int64) error {
	if k.sink == nil {
		return nil
	}
	if at, ok := k.starts[part]; !ok || at != start {
		return fmt.Errorf("%v at %d: %w", part, start, errNotTaken)
	}
	return nil
}

// committed takes note of what the sink has committed.
func (k *keeping) committed(offsets []Offset) {
	if k.sink == nil {
		return
	}
	for _, o := range offsets {
		k.untold[o.Partition] = o.Next
	}
}

// forget drops a partition that is given up.
func (k *keeping) forget(part Partition) {
	delete(k.starts, part)
	delete(k.untold, part)
}

// tellLocked gives the group the positions that the sink has committed. If it does not
// take them, they go with the next ones: nothing depends on them but what others see.
func (w *Worker) tellLocked() {
	k := &w.keep
	if len(k.untold) == 0 || w.over {
		return
	}
	offsets := make([]Offset, 0, len(k.untold))
	for part, next := range k.untold {
		offsets = append(offsets, Offset{part, next})
	}
	ctx, cancel := context.WithTimeout(w.hard, tellTimeout)
	defer cancel()
	err := w.session.CommitOffsets(ctx, offsets)
	if err == nil {
		clear(k.untold)
	} else if !k.deaf && !IsRetriable(err) {
		w.log.Warn("the group did not take the positions; they are in the sink", "error", err)
	}
	k.deaf = err != nil
}
