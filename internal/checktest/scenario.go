//go:build unix

package checktest

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Action is what happens to a worker.
type Action string

// The actions. Pause stops a worker (SIGSTOP) for the event's time and wakes it
// again; Bounce kills it and starts it anew at once.
const (
	Begin  Action = "start"
	Kill   Action = "kill -9"
	Term   Action = "SIGTERM"
	Bounce Action = "kill -9 + restart"
	Pause  Action = "SIGSTOP"

	// Of brokers: Crash kills one and starts it anew at once, Freeze stops one for
	// the event's time.
	Crash  Action = "kill -9 + restart of broker"
	Freeze Action = "SIGSTOP of broker"
)

// Event is one disturbance.
type Event struct {
	// At is when: the part of the input that the group has committed, in percent.
	At     float64
	Do     Action
	Worker string
	Broker int32
	For    time.Duration
}

// String is the event as the table shows it.
func (e Event) String() string {
	s := fmt.Sprintf("%g%% %s %s", e.At, e.Do, e.Worker)
	if e.Broker > 0 {
		s = fmt.Sprintf("%g%% %s %d", e.At, e.Do, e.Broker)
	}
	if e.For > 0 {
		s += fmt.Sprintf(" %v", e.For)
	}
	return s
}

// Scenario runs workers of one group against each other and against events, until
// all input is committed.
type Scenario struct {
	Client       *Client
	Group, Input string
	Records      uint64
	Events       []Event
	// Over spreads the input over a time; 0 has it all there at the beginning.
	Over time.Duration
	// Worker starts one. It is called again for a restart.
	Worker func(name string) *Process
	// Brokers are those that events are for; nil if none is.
	Brokers *Brokers
	// Limit ends a scenario that does not.
	Limit time.Duration

	workers  map[string]*Process
	waking   []*time.Timer
	restless time.Time // a worker or a broker sleeps or has just woken: not over yet
}

// Describe lists the events.
func (s *Scenario) Describe() string {
	all := make([]string, len(s.Events))
	for i, e := range s.Events {
		all[i] = e.String()
	}
	return strings.Join(all, ", ")
}

// Run runs the scenario and returns how long it took until everything was
// committed. The workers that are left are then ended by SIGTERM, which they must
// obey with exit code 0 within 10 seconds.
func (s *Scenario) Run(t testing.TB) time.Duration {
	t.Helper()
	s.workers = map[string]*Process{}
	ctx, cancel := context.WithCancel(context.Background())
	fed := make(chan error, 1)
	if s.Over > 0 {
		go func() { fed <- s.Client.Feed(ctx, s.Input, 0, s.Records, s.Over) }()
	} else {
		s.Client.Prefill(s.Input, s.Records)
		fed <- nil
	}
	defer func() {
		cancel()
		<-fed
		for _, wake := range s.waking {
			wake.Stop()
		}
	}()

	began := time.Now()
	events := s.Events
	committed := uint64(0)
	overdue, explained := began.Add(s.Limit*9/10), false
	Await(t, fmt.Sprintf("the end of the scenario %s", t.Name()), s.Limit, func() bool {
		if explained {
			return false
		}
		if time.Now().After(overdue) {
			explained = true
			s.explain(t)
			return false
		}
		committed = s.progress(ctx)
		for len(events) > 0 && float64(committed) >= events[0].At/100*float64(s.Records) {
			s.do(t, events[0])
			events = events[1:]
		}
		for name, w := range s.workers {
			if !w.Running() {
				t.Fatalf("worker %s ended by itself with %d of %d committed: exit code %d\n%s", name, committed, s.Records, w.Wait(0), w.Stderr())
			}
		}
		return committed >= s.Records && len(events) == 0 && time.Now().After(s.restless)
	})
	took := time.Since(began)
	for _, w := range s.workers {
		s.end(t, w)
	}
	if err := <-fed; err != nil {
		t.Fatalf("feed: %v", err)
	}
	fed <- nil // for the deferred receive
	return took
}

func (s *Scenario) progress(ctx context.Context) (sum uint64) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	positions, err := s.Client.committed(ctx, s.Group, s.Input)
	if err != nil {
		return 0 // asked again
	}
	for _, p := range positions {
		sum += uint64(p)
	}
	return sum
}

func (s *Scenario) do(t testing.TB, e Event) {
	t.Helper()
	w := s.workers[e.Worker]
	switch e.Do {
	case Begin:
		s.workers[e.Worker] = s.Worker(e.Worker)
	case Kill:
		delete(s.workers, e.Worker)
		w.Kill()
	case Bounce:
		w.Kill()
		s.workers[e.Worker] = s.Worker(e.Worker)
	case Term:
		delete(s.workers, e.Worker)
		s.end(t, w)
	case Pause:
		w.Signal(syscall.SIGSTOP)
		s.restless = time.Now().Add(e.For + aftermath)
		s.waking = append(s.waking, time.AfterFunc(e.For, func() { w.Signal(syscall.SIGCONT) }))
	case Crash:
		s.Brokers.Kill(e.Broker)
		s.Brokers.Restart()
	case Freeze:
		s.Brokers.Stop(e.Broker)
		s.restless = time.Now().Add(e.For + aftermath)
		s.Brokers.After(e.For, func() { s.Brokers.Wake(e.Broker) })
	}
}

// aftermath is the time for a worker that has woken to do its worst.
const aftermath = 3 * time.Second

// StopWithin is how long a worker may take to end after SIGTERM.
const StopWithin = 10 * time.Second

func (s *Scenario) end(t testing.TB, w *Process) {
	t.Helper()
	w.Signal(syscall.SIGCONT)
	if code, took := w.Terminate(2 * StopWithin); code != 0 || took > StopWithin {
		t.Errorf("worker %s ended with exit code %d, %v after SIGTERM\n%s", w.name, code, took, w.Stderr())
	}
}

// explain logs why a scenario does not come to its end: the group's members with
// what they own, and where each worker stands (by SIGQUIT, which ends it).
func (s *Scenario) explain(t testing.TB) {
	t.Helper()
	t.Logf("overdue; group %s is %s", s.Group, s.Client.describe(s.Group))
	for _, w := range s.workers {
		w.Signal(syscall.SIGQUIT)
	}
}
