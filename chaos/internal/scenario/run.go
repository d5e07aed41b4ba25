//go:build unix

package scenario

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/cluster"
	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Config is where scenarios are played.
type Config struct {
	Cluster *cluster.Cluster
	// Worker is the program that is run as "worker", with flags.
	Worker string
	// Dir is where what is written of a run is put.
	Dir string
	// Limit bounds one scenario. Default: 3 minutes.
	Limit time.Duration
	// Scale multiplies the number of inputs. Default: 1.
	Scale float64
	// Logger is told what is done. Default: none.
	Logger *slog.Logger
}

const defaultLimit = 3 * time.Minute

// Result is what came of a scenario.
type Result struct {
	Scenario Scenario
	Seed     uint64
	Took     time.Duration
	// Report is nil if nothing could be judged.
	Report *check.Report
	// Err is what was violated or went wrong, nil if nothing did.
	Err error
	// Faults are what was done.
	Faults []check.Fault
	// Recoveries are how commits went on after each of them.
	Recoveries []check.Recovery
	// Dir has the histories and logs; it is removed if nothing was wrong.
	Dir string
}

// ErrWorker is what the errors wrap that say that a worker stood still, or ended as it
// must not.
var ErrWorker = errors.New("a worker has failed")

// Blame says in a few words what the workers did wrong, "" if they did nothing, or if
// nothing can be said.
func (r *Result) Blame() string {
	var broken []string
	if r.Report != nil {
		for _, i := range check.All() {
			if i != check.Hit && r.Report.Violated(i) {
				broken = append(broken, i.String())
			}
		}
	}
	if len(broken) == 0 && errors.Is(r.Err, ErrWorker) {
		return "a worker stood still or failed"
	}
	return strings.Join(broken, ", ")
}

// Run is a scenario that is played.
type Run struct {
	// Cluster is the brokers and their proxy.
	Cluster *cluster.Cluster
	// Rand makes the scenario's choices.
	Rand *rand.Rand

	cfg      Config
	scenario Scenario
	group    string
	topics   workload.Topics
	dir      string
	log      *slog.Logger
	recorder *history.Recorder
	writer   *workload.Writer

	fail     context.CancelCauseFunc // ends it
	watching sync.WaitGroup

	mu       sync.Mutex
	workers  map[string]*worker
	started  []*worker // all processes
	faults   []*check.Fault
	counters []func() check.Counter
	growths  check.Growths // the numbers of partitions that an output has had
}

// Play plays a scenario to its end.
func Play(ctx context.Context, cfg Config, s Scenario, seed uint64) Result {
	if cfg.Limit == 0 {
		cfg.Limit = defaultLimit
	}
	if cfg.Scale == 0 {
		cfg.Scale = 1
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s = s.withDefaults()
	s.Inputs = uint64(float64(s.Inputs) * cfg.Scale)
	began := time.Now()
	result := Result{Scenario: s, Seed: seed}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.Limit, fmt.Errorf("the scenario has not ended within %v", cfg.Limit))
	defer cancel()

	name := fmt.Sprintf("%s-%d-%d", s.Name, seed, began.UnixMilli()%1_000_000)
	r := &Run{
		Cluster: cfg.Cluster, Rand: rand.New(rand.NewPCG(seed, 0x1ea7)), cfg: cfg, scenario: s, group: name,
		topics: workload.NewTopics(name), dir: filepath.Join(cfg.Dir, name), log: cfg.Logger.With("scenario", s.Name), workers: map[string]*worker{},
	}
	if !s.Stateless {
		r.topics = r.topics.WithCounts(name)
	}
	ctx, r.fail = context.WithCancelCause(ctx)
	defer r.fail(nil)
	result.Dir = r.dir
	result.Err = r.play(ctx, seed, &result)
	result.Took = time.Since(began)
	if result.Err == nil {
		result.Err = os.RemoveAll(r.dir)
	}
	return result
}

func (r *Run) play(ctx context.Context, seed uint64, result *Result) (err error) {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.Cluster.Direct()...), kgo.ClientID("chaos-admin"), kgo.AlwaysRetryEOF())
	if err != nil {
		return err
	}
	defer client.Close()
	if err := r.topics.Create(ctx, client, r.scenario.Partitions, OutputPartitions, -1); err != nil {
		return err
	}
	defer func() {
		if err == nil { // else they may be looked at
			err = r.topics.Delete(ctx, client)
		}
	}()
	r.recorder, err = history.StartRecorder(history.Config{
		Brokers: r.Cluster.Direct(), Topics: r.topics, Group: r.group, TransactionalIDs: r.transactionalIDs(), Dir: r.dir, Every: r.scenario.Every,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.recorder.Stop()) }()
	defer r.watching.Wait()
	defer r.killAll()

	g := workload.Usual(seed, r.scenario.Partitions)
	if r.scenario.Generator != nil {
		r.scenario.Generator(&g)
	}
	r.writer = &workload.Writer{Brokers: r.Cluster.Direct(), Topic: r.topics.Input, Generator: g, Rate: r.scenario.Rate}
	if err := r.startAll(ctx); err != nil {
		return err
	}
	written := make(chan error, 1)
	writing, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		<-written
	}()
	var played atomic.Bool // until then there is input, however slow the machine is
	r.writer.More = func() bool { return !played.Load() }
	go func() {
		written <- r.writer.Write(writing, 0, r.scenario.Inputs)
		close(written)
	}()
	err = r.scenario.Play(ctx, r)
	played.Store(true)
	if err != nil {
		return r.stuck(fmt.Errorf("play: %w", err))
	}
	if r.scenario.Unjudged {
		return nil
	}
	return r.judge(ctx, <-written, result)
}

// judge waits for the end of everything and has it judged.
func (r *Run) judge(ctx context.Context, writing error, result *Result) error {
	if writing != nil {
		return writing
	}
	if err := r.Cluster.Ready(ctx); err != nil {
		return err
	}
	x, err := check.Expect(ctx, r.Cluster.Direct(), r.topics)
	if err != nil {
		return err
	}
	if err := r.recorder.Watch().AwaitCommitted(ctx, x.Ends()); err != nil {
		return r.stuck(fmt.Errorf("%w: the brokers are well, and not all is committed: %w", ErrWorker, err))
	}
	var errs []error
	for _, w := range r.running() {
		errs = append(errs, w.terminate(ctx))
	}
	errs = append(errs, r.ends()...)
	h, err := r.recorder.Finish(ctx, TransactionTimeout+openGrace)
	if h == nil || ctx.Err() != nil { // not all is read: what is missing is not lost
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, err)
	evidence := check.Evidence{
		History: h, Expectation: x, OpenLimit: TransactionTimeout + openGrace, Bounds: r.scenario.Bounds,
		Spares: r.scenario.Spares,
	}
	r.mu.Lock()
	faults, counters := r.faults, r.counters
	evidence.Growths = r.growths
	r.mu.Unlock()
	for _, f := range faults {
		evidence.Faults = append(evidence.Faults, *f)
	}
	for _, c := range counters { // they may lock
		evidence.Counters = append(evidence.Counters, c())
	}
	result.Faults = evidence.Faults
	result.Recoveries = check.Recoveries(h.Samples, evidence.Faults)
	result.Report = check.Judge(evidence)
	if result.Report.Err() != nil {
		errs = append(errs, r.keep(ctx))
	}
	return errors.Join(append(errs, result.Report.Err())...)
}

// keep puts what the brokers know beside the histories of a run that went wrong.
func (r *Run) keep(ctx context.Context) error {
	errs := []error{history.WriteRaw(ctx, r.Cluster.Direct(), r.topics, filepath.Join(r.dir, "raw.txt"))}
	for node := int32(1); node <= cluster.NumBrokers; node++ {
		log, err := os.ReadFile(r.Cluster.Log(node))
		if err == nil {
			err = os.WriteFile(filepath.Join(r.dir, fmt.Sprintf("broker%d.log", node)), log, 0o644)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// openGrace is how long a coordinator may take beyond a transaction's time-out.
const openGrace = 15 * time.Second

// Fault notes that something is being broken. The function that it returns says that it
// is whole again.
func (r *Run) Fault(name string) (healed func()) { return r.FaultOf("", name) }

// FaultOf is Fault with the kind of fault under which reports sum it up.
func (r *Run) FaultOf(kind, name string) (healed func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &check.Fault{Kind: kind, Name: name, Began: time.Now()}
	r.faults = append(r.faults, f)
	r.log.Info("fault", "what", name)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		f.Healed = time.Now()
		r.log.Info("healed", "what", name, "after", f.Healed.Sub(f.Began).Round(time.Millisecond))
	}
}

// MustReach has the scenario fail unless a counter has reached least at its end.
func (r *Run) MustReach(name string, least int64, got func() int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counters = append(r.counters, func() check.Counter { return check.Counter{Name: name, Got: got(), Least: least} })
}

// Scaled is a threshold in proportion to what is written: full if it is all of it.
func (r *Run) Scaled(full int64) int64 { return max(1, int64(float64(full)*r.cfg.Scale)) }

// Written waits until a share of the input, from 0 to 1, is written.
func (r *Run) Written(ctx context.Context, share float64) error {
	least := int64(share * float64(r.scenario.Inputs))
	return r.Await(ctx, fmt.Sprintf("%.0f %% of the input", 100*share), func() bool { return r.writer.Written() >= least })
}

// Await polls a condition.
func (r *Run) Await(ctx context.Context, what string, done func() bool) error {
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	for !done() {
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, context.Cause(ctx))
		}
	}
	return nil
}

// Last waits for a duration: that of a fault.
func (r *Run) Last(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Healing waits until the brokers are whole, and then until each worker that has
// partitions has committed more than before.
func (r *Run) Healing(ctx context.Context, healed func()) error {
	if err := r.Cluster.Ready(ctx); err != nil {
		return err
	}
	healed()
	return r.Progress(ctx)
}

// Progress waits until the workers together have committed more.
func (r *Run) Progress(ctx context.Context) error {
	before := r.commits()
	return r.Await(ctx, "commits to go on", func() bool { return r.commits() > before })
}

func (r *Run) commits() int64 {
	return r.sum(func(s workload.Status) int64 { return s.Commits })
}

// sum adds up a counter of all workers, those that have ended included.
func (r *Run) sum(of func(workload.Status) int64) (n int64) {
	r.mu.Lock()
	names := slices.Collect(maps.Keys(r.workers))
	r.mu.Unlock()
	for _, name := range names {
		n += of(r.recorder.Worker(name).Total())
	}
	return n
}
