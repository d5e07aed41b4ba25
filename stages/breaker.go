package stages

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// ErrBreakerOpen is what the look-ups of [EnrichAsync] wait with after too many have
// failed: see [AsyncConfig].BreakAfter. It is retriable, so that it is never a record's
// last word.
var ErrBreakerOpen = errors.New("the table has failed too often and is left alone for a while")

// breaker lets no call through for a while after too many in a row have failed, and then
// one, to see. It is for all partitions. nil lets all through.
type breaker struct {
	after    int
	coolDown time.Duration

	mu       sync.Mutex
	failures int // in a row
	opened   time.Time
	probing  bool
}

// through makes a call if it may be made.
func (b *breaker) through(ctx context.Context, call func() error) error {
	if b == nil {
		return call()
	}
	probe, err := b.enter()
	if err != nil {
		return err
	}
	err = errGoexit // or a panic: it is a failure like others
	defer func() { b.leave(probe, err, ctx.Err() != nil) }()
	err = call()
	return err
}

func (b *breaker) enter() (probe bool, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < b.after {
		return false, nil
	}
	if b.probing || time.Since(b.opened) < b.coolDown {
		return false, pipeline.Retriable(fmt.Errorf("%w (%d times; for %v)", ErrBreakerOpen, b.failures, b.coolDown))
	}
	b.probing = true
	return true, nil
}

// leave counts what became of a call, unless it was given up.
func (b *breaker) leave(probe bool, err error, givenUp bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if probe {
		b.probing = false
	}
	switch {
	case err == nil:
		b.failures = 0
	case !givenUp:
		b.failures++
		b.opened = time.Now()
	}
}
