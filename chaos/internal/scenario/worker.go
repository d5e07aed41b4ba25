//go:build unix

package scenario

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/leat-stream/leat/chaos/internal/process"
)

// The workers' time-outs: short, so that a scenario need not last minutes.
const (
	SessionTimeout     = 6 * time.Second // the brokers' least
	TransactionTimeout = 10 * time.Second
	heartbeatInterval  = 500 * time.Millisecond
)

// worker is one process of a worker.
type worker struct {
	*process.Process
	name string
	log  string

	killed   atomic.Bool // by us
	failing  atomic.Bool // it may end with an error
	expected atomic.Bool // to end
}

func (r *Run) transactionalIDs() string { return "chaos-" + r.group }

// TransactionalID is that of a worker.
func (r *Run) TransactionalID(worker string) string {
	return r.transactionalIDs() + "-" + worker + "-0"
}

// ClientID is that of a worker's connections.
func (r *Run) ClientID(worker string) string { return "chaos-" + worker }

// Start starts a worker, or starts it anew, and waits until it owns partitions. flags
// are further ones and may contradict the others.
func (r *Run) Start(ctx context.Context, name string, flags ...string) error {
	if err := r.Launch(name, r.instance(name), flags...); err != nil {
		return err
	}
	return r.Owning(ctx, name)
}

// startAll starts the scenario's workers, at once, and waits until each of them owns
// partitions.
func (r *Run) startAll(ctx context.Context) error {
	names := make([]string, r.scenario.Workers)
	for i := range names {
		names[i] = fmt.Sprint("w", i)
		if err := r.Launch(names[i], r.instance(names[i])); err != nil {
			return err
		}
	}
	for _, name := range names {
		if err := r.Owning(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// instance is the name that a worker has in its group, if it has any.
func (r *Run) instance(worker string) string {
	if r.scenario.Dynamic {
		return ""
	}
	return worker
}

// Launch starts a worker under an instance name and does not wait.
func (r *Run) Launch(name, instance string, flags ...string) error {
	path := filepath.Join(r.dir, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own
	r.mu.Lock()
	seed := r.Rand.Uint64()
	r.mu.Unlock()
	args := slices.Concat([]string{
		"worker", "-brokers", strings.Join(r.Cluster.Bootstrap(), ","), "-topics", r.group, "-group", r.group, "-instance", instance,
		"-seed", fmt.Sprint(seed), "-session-timeout", SessionTimeout.String(), "-heartbeat-interval", heartbeatInterval.String(),
		"-transaction-timeout", TransactionTimeout.String(),
	}, r.scenario.Flags, flags)
	if r.topics.Counts != "" {
		args = append(args, "-counts")
	}
	cmd := exec.Command(r.cfg.Worker, args...)
	cmd.Stdout, cmd.Stderr = r.recorder.Worker(name), log
	p, err := process.Start(cmd)
	if err != nil {
		return fmt.Errorf("worker %s: %w", name, err)
	}
	w := &worker{Process: p, name: name, log: path}
	r.watching.Go(func() { r.watch(w) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers[name] = w
	r.started = append(r.started, w)
	return nil
}

// watch ends the scenario when a worker ends by itself.
func (r *Run) watch(w *worker) {
	<-w.Exited() // all are killed in the end
	if !w.expected.Load() {
		r.fail(fmt.Errorf("%w: %s has ended by itself", ErrWorker, w.name))
	}
}

// Owning waits until a worker's present process owns partitions.
func (r *Run) Owning(ctx context.Context, name string) error {
	w := r.worker(name)
	since := time.Now().Add(-time.Millisecond)
	return r.Await(ctx, "partitions of worker "+name, func() bool {
		s, ok := r.recorder.Worker(name).Last()
		return ok && s.At.After(since) && len(s.Partitions) > 0 || !w.Running()
	})
}

// Commits is the number of transactions that a worker has committed, in all its
// processes.
func (r *Run) Commits(name string) int64 { return r.recorder.Worker(name).Total().Commits }

// Aborts is the number of those that it has aborted.
func (r *Run) Aborts(name string) int64 { return r.recorder.Worker(name).Total().Aborts }

// Slow is the number of its records that were made to take long, and have.
func (r *Run) Slow(name string) int64 { return r.recorder.Worker(name).Total().Slow }

// Committing waits until a worker has committed n times more.
func (r *Run) Committing(ctx context.Context, name string, n int64) error {
	before := r.Commits(name)
	return r.Await(ctx, fmt.Sprintf("%d commits of worker %s", n, name), func() bool { return r.Commits(name) >= before+n })
}

// Said is the error that a worker has ended with, "" if there is none.
func (r *Run) Said(name string) string {
	s, _ := r.recorder.Worker(name).Last()
	return s.Error
}

// Partitions is the number of partitions that a worker last said it owned.
func (r *Run) Partitions(name string) int {
	s, _ := r.recorder.Worker(name).Last()
	return len(s.Partitions)
}

// Names are the workers that run, in order.
func (r *Run) Names() (names []string) {
	for _, w := range r.running() {
		names = append(names, w.name)
	}
	return names
}

// Any chooses one of the workers that run.
func (r *Run) Any() string {
	names := r.Names()
	return names[r.Rand.IntN(len(names))]
}

func (r *Run) worker(name string) *worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.workers[name]
}

func (r *Run) running() (all []*worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.workers {
		if w.Running() {
			all = append(all, w)
		}
	}
	slices.SortFunc(all, func(a, b *worker) int { return strings.Compare(a.name, b.name) })
	return all
}

// Kill ends a worker with SIGKILL.
func (r *Run) Kill(name string) error {
	w := r.worker(name)
	w.condemn()
	return w.Kill()
}

// Terminate ends a worker with SIGTERM: it must obey and exit with 0.
func (r *Run) Terminate(ctx context.Context, name string) error { return r.worker(name).terminate(ctx) }

// Freeze has a worker stand still (SIGSTOP), Thaw go on.
func (r *Run) Freeze(name string) error {
	return r.worker(name).Signal(syscall.SIGSTOP)
}

// Thaw is the end of Freeze.
func (r *Run) Thaw(name string) error {
	return r.worker(name).Signal(syscall.SIGCONT)
}

// MayFail says that a worker may end with an error from now on.
func (r *Run) MayFail(name string) {
	w := r.worker(name)
	w.failing.Store(true)
	w.expected.Store(true)
}

// MustNotFail is the end of MayFail. It reports false if the worker has ended.
func (r *Run) MustNotFail(name string) bool {
	w := r.worker(name)
	w.failing.Store(false)
	w.expected.Store(false)
	return w.Running()
}

// Running reports whether a worker has not ended.
func (r *Run) Running(name string) bool { return r.worker(name).Running() }

// Stall has a worker take longer for a record than its transaction lasts.
func (r *Run) Stall(name string) error { return r.worker(name).Signal(syscall.SIGUSR1) }

// condemn says that the worker is about to be killed.
func (w *worker) condemn() {
	w.killed.Store(true)
	w.expected.Store(true)
}

// stopLimit is how long an orderly stop may take: Leat's default and some more.
const stopLimit = 20 * time.Second

func (w *worker) terminate(ctx context.Context) error {
	w.expected.Store(true)
	ctx, cancel := context.WithTimeoutCause(ctx, stopLimit, fmt.Errorf("%w: %s has not stopped within %v of SIGTERM", ErrWorker, w.name, stopLimit))
	defer cancel()
	if err := w.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if err := w.Wait(ctx); err != nil {
		return errors.Join(context.Cause(ctx), w.dump())
	}
	return nil
}

// dump has the process write its goroutines to its log, and ends it.
func (w *worker) dump() error {
	_ = w.Signal(syscall.SIGCONT)
	if err := w.Signal(syscall.SIGQUIT); err != nil {
		return nil // it has ended
	}
	w.condemn()
	select {
	case <-w.Exited():
		return fmt.Errorf("what worker %s was doing is in %s", w.name, w.log)
	case <-time.After(5 * time.Second):
		return w.Kill()
	}
}

// stuck adds to an error where the workers' goroutines can be seen.
func (r *Run) stuck(err error) error {
	errs := []error{err}
	errs = append(errs, r.ends()...)
	for _, w := range r.running() {
		errs = append(errs, w.dump())
	}
	return errors.Join(errs...)
}

func (r *Run) killAll() {
	for _, w := range r.running() {
		w.condemn()
		_ = w.Kill()
	}
}

// ends reports processes that have ended in a way that they must not.
func (r *Run) ends() (errs []error) {
	r.mu.Lock()
	all := slices.Clone(r.started)
	r.mu.Unlock()
	for _, w := range all {
		if w.Running() {
			continue
		}
		switch err := w.Err(); {
		case w.killed.Load():
		case !w.expected.Load():
			errs = append(errs, fmt.Errorf("%w: %s has ended by itself: %v; see %s", ErrWorker, w.name, err, w.log))
		case err != nil && !w.failing.Load():
			errs = append(errs, fmt.Errorf("%w: %s has ended badly: %w; see %s", ErrWorker, w.name, err, w.log))
		}
	}
	for _, name := range r.logs() {
		if line := disaster(name); line != "" {
			errs = append(errs, fmt.Errorf("%w: %s: %s", ErrWorker, name, line))
		}
	}
	return errs
}

func (r *Run) logs() (names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.started {
		if !slices.Contains(names, w.log) {
			names = append(names, w.log)
		}
	}
	return names
}

// disaster returns the first line of a log that tells of a panic, of a deadlock that the
// runtime has found, or of a data race.
func disaster(log string) string {
	f, err := os.Open(log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "panic:") || strings.HasPrefix(line, "fatal error:") || strings.Contains(line, "WARNING: DATA RACE") {
			return line
		}
	}
	return ""
}
