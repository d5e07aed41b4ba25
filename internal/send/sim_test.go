package send

import (
	"container/heap"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

var seedFlag = flag.Uint64("seed", 0, "replay this schedule of the simulation, with a trace")

// TestSimulation runs the machine on a simulated network, clock and cluster. A
// schedule depends on nothing but its seed. LEAT_SIM_SEEDS sets how many are run
// and LEAT_SIM_FIRST the first; -seed replays one with its trace.
func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		s := newSim(*seedFlag, 0)
		s.trace = func(format string, args ...any) {
			t.Logf("%9.3fms %s", float64(s.now.Sub(simStart))/1e6, fmt.Sprintf(format, args...))
		}
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	number := func(name string, otherwise uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return otherwise
	}
	first, seeds := number("LEAT_SIM_FIRST", 1), number("LEAT_SIM_SEEDS", 1000)
	begun, failed := time.Now(), 0
	for seed := first; seed < first+seeds; seed++ {
		if err := newSim(seed, 0).run(); err != nil {
			t.Errorf("seed %d: %v\nreplay: go test ./internal/send -run TestSimulation -seed=%d -v", seed, err, seed)
			if failed++; failed == 5 {
				break
			}
		}
	}
	t.Logf("%.0f schedules a minute", float64(seeds)/time.Since(begun).Minutes())
}

// TestSimulationIsDeterministic runs schedules twice.
func TestSimulationIsDeterministic(t *testing.T) {
	for seed := uint64(1); seed <= 20; seed++ {
		var traces [2][]string
		for i := range traces {
			s := newSim(seed, 0)
			s.trace = func(format string, args ...any) {
				traces[i] = append(traces[i], s.now.Sub(simStart).String()+" "+fmt.Sprintf(format, args...))
			}
			_ = s.run()
		}
		for i, line := range traces[0] {
			if i >= len(traces[1]) || line != traces[1][i] {
				t.Fatalf("seed %d differs at line %d: %s", seed, i, line)
			}
		}
	}
}

var simStart = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// sim is one schedule: a clock, what is to happen, and chance.
type sim struct {
	seed   uint64
	rnd    *rand.Rand
	now    time.Time
	events events
	count  int64
	cfg    Config
	f      faults
	quiet  bool // no more faults
	cl     *cluster
	actors []*actor
	err    error // the first violation
	trace  func(format string, args ...any)
}

// faults is how likely things are, drawn for each schedule.
type faults struct {
	cut, swallow, mute   float64 // of a connection, by a request: broken, requests lost, answers lost
	keep                 float64 // of a request on a broken connection: delivered nevertheless
	late                 time.Duration
	code                 float64 // of an error code instead of, or after, an append
	slow                 float64 // of replication
	hint, staleHint      float64
	view, staleView      float64 // failing; behind
	callLost, callAnswer float64 // a coordinator's request lost; its answer lost
	callLate, callCode   float64
	disaster             time.Duration // mean time between
	wander               bool          // of leaders, as the only disaster
	flush, leave         float64
	idle                 time.Duration // between a caller's bursts, at most
}

// chance is true with probability p, and never once faults have stopped.
func (s *sim) chance(p float64) bool { return !s.quiet && p > 0 && s.rnd.Float64() < p }

// upTo is a random duration.
func (s *sim) upTo(d time.Duration) time.Duration { return time.Duration(s.rnd.Int64N(int64(d) + 1)) }

func (s *sim) tracef(format string, args ...any) {
	if s.trace != nil {
		s.trace(format, args...)
	}
}

// violated notes the first thing that must not happen.
func (s *sim) violated(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
		s.tracef("VIOLATION %v", s.err)
	}
}

type event struct {
	at time.Time
	n  int64
	f  func()
}

type events []*event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at.Before(e[j].at) || e[i].at.Equal(e[j].at) && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(*event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func (s *sim) at(t time.Time, f func()) {
	if t.Before(s.now) {
		t = s.now
	}
	s.count++
	heap.Push(&s.events, &event{t, s.count, f})
}

func (s *sim) after(d time.Duration, f func()) { s.at(s.now.Add(d), f) }

// advance lets things happen until there is nothing left, until is over or a
// violation is found.
func (s *sim) advance(until time.Time, stop func() bool) {
	for steps := 0; len(s.events) > 0 && s.err == nil && !stop(); steps++ {
		if s.events[0].at.After(until) {
			break
		}
		if steps > 2_000_000 {
			s.violated("the schedule does not come to an end")
			return
		}
		e := heap.Pop(&s.events).(*event)
		s.now = e.at
		e.f()
	}
}

func newSim(seed uint64, without rule) *sim {
	s := &sim{seed: seed, rnd: rand.New(rand.NewPCG(seed, 0x1ea7)), now: simStart}
	pick := func(p float64, most float64) float64 {
		if s.rnd.Float64() > p {
			return 0
		}
		return most * s.rnd.Float64()
	}
	ms := func(from, to int64) time.Duration {
		return time.Duration(from+s.rnd.Int64N(to-from+1)) * time.Millisecond
	}
	s.f = faults{
		cut: pick(.7, .15), swallow: pick(.3, .05), mute: pick(.3, .05), keep: pick(.7, 1), late: ms(1, 3000),
		code: pick(.6, .2), slow: pick(.3, .1), hint: pick(.8, 1), staleHint: pick(.5, .5),
		view: pick(.4, .4), staleView: pick(.5, .7),
		callLost: pick(.5, .2), callAnswer: pick(.6, .3), callLate: pick(.6, .8), callCode: pick(.5, .3),
		disaster: ms(20, 1000), flush: pick(.7, .3), leave: pick(.3, .2), idle: ms(5, 200),
	}
	if s.rnd.IntN(4) == 0 {
		s.f.disaster = 0
	}
	conn := sarama.NewConfig()
	conn.Version = sarama.MaxVersion
	s.cfg = Config{
		Brokers: []string{"b1"}, Connection: conn, Acks: sarama.WaitForAll,
		BatchSize: 300 + s.rnd.IntN(700), Linger: ms(0, 20), BufferMemory: 1 << 20, MaxRequestSize: 1 << 16,
		MaxInFlight: 1 + s.rnd.IntN(5), RequestTimeout: ms(300, 1000), DeliveryTimeout: ms(1100, 5000),
		RetryBackoff: ms(5, 100), RetryBackoffMax: ms(100, 500), DialTimeout: ms(100, 300), MetadataMaxAge: ms(500, 5000),
		TransactionTimeout: ms(4000, 30000), Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError})),
		without: without,
	}
	if s.rnd.IntN(2) == 0 {
		s.cfg.MaxInFlight = 5
	}
	if s.rnd.IntN(4) == 0 { // leaders wander under a busy producer
		s.f.wander, s.f.disaster, s.f.mute, s.f.idle = true, ms(30, 200), .1*s.rnd.Float64(), ms(5, 30)
		s.cfg.MetadataMaxAge, s.cfg.BatchSize = ms(50, 200), 300
	}
	if s.rnd.IntN(2) == 0 {
		s.cfg.LingerMax = s.cfg.Linger + ms(1, 50)
	}
	s.cl = newCluster(s)
	return s
}

// run runs the schedule: faults for a while, then none; everything must settle.
func (s *sim) run() error {
	kind := s.rnd.IntN(10)
	var d interface {
		start()
		done() bool
		check()
	}
	switch {
	case kind < 4:
		s.cfg.Idempotent = true
		d = newSenders(s)
	case kind < 5:
		d = newSenders(s)
	default:
		s.cfg.Idempotent, s.cfg.TransactionalID = true, "worker-1"
		d = newWorker(s)
	}
	if err := s.cfg.Validate(); err != nil {
		return err
	}
	s.cl.disasters()
	d.start()
	s.advance(s.now.Add(time.Duration(5+s.rnd.IntN(20))*time.Second), d.done)
	s.calm()
	s.advance(s.now.Add(5*time.Minute), d.done)
	if s.err == nil && !d.done() {
		s.violated("stuck: not everything has its outcome five minutes after the last fault")
	}
	for _, a := range s.actors {
		if !a.killed && s.err == nil {
			a.checkSettled()
		}
		a.killed = true
	}
	s.advance(s.now.Add(time.Hour), func() bool { return false }) // whatever is still on its way
	if s.err == nil {
		d.check()
	}
	return s.err
}

// calm ends all faults.
func (s *sim) calm() {
	if !s.quiet {
		s.quiet = true
		s.cl.heal()
		s.tracef("faults have stopped")
	}
}
