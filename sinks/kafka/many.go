package kafka

import (
	"context"
	"sync"
)

// Outcome is what became of one of several records.
type Outcome struct {
	Result
	// Err is nil if the record was written.
	Err error
}

// SendMany sends records in order and waits for them all. Outcomes are in the order of
// the records. The error is nil if all were written, else an [*UndeliveredError], or
// why it waits no longer: when ctx ends, records without an outcome have its cause as
// theirs and may be written nevertheless. A record that is not taken does not keep the
// others from being sent.
func (p *Producer) SendMany(ctx context.Context, records []Record) ([]Outcome, error) {
	return sendMany(ctx, len(records), func(i int, done Callback) error { return p.Send(ctx, records[i], done) })
}

func sendMany(ctx context.Context, n int, sending func(i int, done Callback) error) ([]Outcome, error) {
	if inCallback() {
		return nil, ErrInCallback
	}
	m := &many{outcomes: make([]Outcome, n), settled: make([]bool, n), open: n, done: make(chan struct{})}
	if n == 0 {
		return nil, nil
	}
	for i := range n {
		if err := sending(i, func(r Result, err error) { m.settle(i, r, err) }); err != nil {
			m.settle(i, Result{Partition: noPartition, Offset: -1}, err)
		}
	}
	select {
	case <-m.done:
		return m.end(nil)
	case <-ctx.Done():
		return m.end(context.Cause(ctx))
	}
}

type many struct {
	mu       sync.Mutex
	outcomes []Outcome
	settled  []bool
	open     int
	over     bool
	done     chan struct{}
}

func (m *many) settle(i int, r Result, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over { // the outcomes are the caller's
		return
	}
	m.outcomes[i], m.settled[i] = Outcome{r, err}, true
	if m.open--; m.open == 0 {
		close(m.done)
	}
}

func (m *many) end(cause error) ([]Outcome, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	failed := &UndeliveredError{}
	for i := range m.outcomes {
		o := &m.outcomes[i]
		if !m.settled[i] {
			o.Partition, o.Offset, o.Err = noPartition, -1, cause
			continue
		}
		if e, ok := o.Err.(*DeliveryError); ok {
			o.Topic = e.Topic
			failed.add(e)
		}
	}
	switch {
	case cause != nil && m.open > 0:
		return m.outcomes, cause
	case failed.Records > 0:
		return m.outcomes, failed
	default:
		return m.outcomes, nil
	}
}
