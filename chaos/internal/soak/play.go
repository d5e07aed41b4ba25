//go:build unix

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/leat-stream/leat/chaos/internal/scenario"
)

// workers are the names of those that run throughout.
var workers = []string{"w0", "w1", "w2"}

// play is the long part of a soak.
type play struct {
	*scenario.Run
	out io.Writer

	hands map[string]*sync.Mutex // of a worker: whoever does something to it holds it

	mu       sync.Mutex
	broken   int       // faults now
	healed   time.Time // the last one
	meetings map[string]*meetings
}

func newPlay(r *scenario.Run, out io.Writer) *play {
	p := &play{Run: r, out: out, hands: map[string]*sync.Mutex{}, meetings: map[string]*meetings{}}
	for _, name := range workers {
		p.hands[name] = new(sync.Mutex)
	}
	return p
}

// run goes through the schedule until d is over, and finishes the step that it is in.
func (p *play) run(ctx context.Context, schedule *Schedule, d time.Duration, seed uint64) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	over := make(chan struct{})
	var side sync.WaitGroup
	side.Go(func() {
		if err := p.restarts(ctx, over, rand.New(rand.NewPCG(seed, 0x7e43))); err != nil {
			fail(err)
		}
	})
	err := p.steps(ctx, schedule, time.Now().Add(d))
	close(over)
	side.Wait()
	return errors.Join(err, context.Cause(ctx))
}

func (p *play) steps(ctx context.Context, schedule *Schedule, end time.Time) error {
	for time.Now().Before(end) {
		step := schedule.Next()
		fmt.Fprintf(p.out, "%s  %v\n", time.Now().Format(time.TimeOnly), step)
		if err := p.step(ctx, step); err != nil {
			return fmt.Errorf("step %v: %w", step, err)
		}
	}
	return nil
}

// step does what a step says, all at once, and waits for the workers to go on.
func (p *play) step(ctx context.Context, step Step) error {
	errs := make([]error, len(step.Kinds))
	var all sync.WaitGroup
	for i, name := range step.Kinds {
		s := &strike{play: p, kind: kindOf(name), rand: rand.New(rand.NewPCG(step.Seed, uint64(i)))}
		all.Go(func() {
			if err := s.kind.do(ctx, s); err != nil {
				errs[i] = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := p.within(ctx, time.Minute, p.Progress); err != nil {
		return err
	}
	return p.Last(ctx, step.Calm)
}

// within bounds a wait.
func (p *play) within(ctx context.Context, d time.Duration, wait func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, d, fmt.Errorf("not within %v", d))
	defer cancel()
	return wait(ctx)
}

// breaks notes that something is being broken, until the function that it returns is
// called.
func (s *strike) breaks(format string, args ...any) (heal func()) {
	what := fmt.Sprintf(format, args...)
	healed := s.FaultOf(s.kind.name, what)
	fmt.Fprintf(s.out, "          %s\n", what)
	s.mu.Lock()
	s.broken++
	s.mu.Unlock()
	return func() {
		healed()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.broken--
		s.play.healed = time.Now()
	}
}

// troubled reports whether something has been broken since a time, or not long before.
func (p *play) troubled(since time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken > 0 || p.healed.After(since.Add(-10*time.Second))
}

// restartEvery is how often a worker is told to stop, and started anew: a rolling
// deployment that never ends.
const restartEvery = 30 * time.Second

// restarts has workers stop in order, one after the other. In calm times they must end
// without an error; always within their time.
func (p *play) restarts(ctx context.Context, over <-chan struct{}, rand *rand.Rand) error {
	t := time.NewTicker(restartEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-over:
			return nil
		case <-ctx.Done():
			return nil
		}
		if err := p.restart(ctx, workers[rand.IntN(len(workers))]); err != nil {
			return err
		}
	}
}

func (p *play) restart(ctx context.Context, name string) error {
	p.hands[name].Lock()
	defer p.hands[name].Unlock()
	told := time.Now()
	if err := p.Terminate(ctx, name); err != nil {
		return err
	}
	if p.troubled(told) {
		p.MayFail(name) // it may not have been able to commit
	}
	return p.start(ctx, name)
}

// start starts workers anew and waits until they own partitions. One that finds no broker
// says so and ends: it is started again, as whoever runs workers would do.
func (p *play) start(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := p.launch(name); err != nil {
			return err
		}
	}
	for _, name := range names {
		for began := time.Now(); ; {
			if err := p.Owning(ctx, name); err != nil {
				return fmt.Errorf("start worker %s again: %w", name, err)
			}
			if p.MustNotFail(name) {
				break
			}
			p.MayFail(name) // it did so in time
			if !p.troubled(began) {
				return fmt.Errorf("%w: %s has ended at its start: %s", scenario.ErrWorker, name, p.Said(name))
			}
			if err := p.launch(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *play) launch(name string) error {
	if err := p.Launch(name, name); err != nil {
		return err
	}
	p.MayFail(name)
	return nil
}
