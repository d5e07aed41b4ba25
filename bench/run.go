//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/leat-stream/leat/bench/internal/meter"
)

// cleanupTime bounds the removal of topics and groups, which also happens after an interrupt.
const cleanupTime = 30 * time.Second

// run is one process of one worker, and all that was measured of it.
type run struct {
	Pair   int    `json:"pair"` // 0: before the measured ones
	Worker string `json:"worker"`
	meter.Result
	LoadBefore float64 `json:"load_before_cores"` // of the machine, just before; -1: not known
	Quiet      bool    `json:"quiet_before"`
	OtherLoad  float64 `json:"other_load_cores"`         // of all but worker and brokers, meanwhile; -1: not known
	BrokerCPU  float64 `json:"broker_cpu_us_per_record"` // of brokers on this machine; -1: not known
	Verdict    verdict `json:"verdict"`
	Exact      bool    `json:"exact"`
}

// bench is one invocation.
type bench struct {
	options
	self   string // this program, for its subcommands
	prefix string // of its topics and groups
	admin  *admin
	log    io.Writer

	throughput int64 // records a second of a job that does not write all it can
}

// measure fills the input, runs the pairs and writes the report. It also reports what was measured
// before a failure.
func measure(ctx context.Context, o options, self string, stdout, log io.Writer) (err error) {
	began := time.Now()
	a, err := newAdmin(o.brokers)
	if err != nil {
		return err
	}
	defer a.close()
	b := &bench{options: o, self: self, prefix: fmt.Sprintf("leat-bench-%d", began.UnixNano()), admin: a, log: log}

	m := thisMachine(o.workers)
	m.Commit, m.PeerJava = o.commit, o.java
	if m.Kafka, m.Brokers, err = a.brokerVersion(ctx); err != nil {
		return err
	}
	if o.kafkaVersion != "" {
		m.Kafka = o.kafkaVersion
	}
	rep := report{began: began, machine: m, options: o}
	rep.runs, err = b.pairsOf(ctx)
	rep.commands = b.commands()
	if rep.measured() {
		fmt.Fprint(stdout, rep.markdown())
	}
	if o.out != "" && len(rep.runs) > 0 {
		err = errors.Join(err, rep.appendTo(o.out))
	}
	return err
}

// pairsOf runs the workers in turn, so that a slow phase of the machine meets all of them. It ends
// at the first run that is not exact: how fast that one was means nothing.
func (b *bench) pairsOf(ctx context.Context) (runs []run, err error) {
	input := ""
	if b.job == "copy" {
		input = b.prefix + "-in"
		if err := b.admin.createTopic(ctx, input); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, b.cleanup(ctx, input, "")) }()
		fmt.Fprintf(b.log, "filling %s with %d records\n", input, b.n)
		if _, err := b.command(ctx, b.self, "fill", "-brokers", b.addresses(), "-topic", input, "-n", fmt.Sprint(b.n)); err != nil {
			return nil, err
		}
	}
	if load := jobs[b.job].load; load > 0 {
		if err := b.findLoad(ctx, load); err != nil {
			return nil, err
		}
	}
	for pair := 1 - b.warmup; pair <= b.pairs; pair++ {
		for _, w := range turn(b.workers, pair) {
			r, err := b.runOnce(ctx, max(0, pair), w, input)
			if err != nil {
				return runs, fmt.Errorf("%s, pair %d: %w", w.name, max(0, pair), err)
			}
			runs = append(runs, r)
			fmt.Fprintln(b.log, r)
			if !r.Exact {
				return runs, fmt.Errorf("%s was not exact in pair %d: it says %d; %s", w.name, r.Pair, r.Records, r.Verdict)
			}
		}
	}
	return runs, nil
}

// findLoad measures how much can be written, with the usual linger, in the second of two runs, since
// the brokers are faster then.
func (b *bench) findLoad(ctx context.Context, share float64) error {
	full := &bench{options: b.options, self: b.self, prefix: b.prefix, admin: b.admin, log: b.log}
	full.job = "produce"
	w := b.workers[0]
	w.name, w.args = "all", []string{"perf", "produce"}
	for pair := range 2 {
		r, err := full.runOnce(ctx, 0, w, "")
		if err != nil {
			return fmt.Errorf("how much can be written, run %d: %w", pair+1, err)
		}
		fmt.Fprintln(b.log, r)
		b.throughput = int64(share * r.rate())
	}
	if b.throughput < 1 {
		return errors.New("nothing can be written")
	}
	return nil
}

// turn is the order of a pair: each begins with another worker, so that none profits from brokers
// that become faster from run to run, or suffers from what the one before it left behind.
func turn(workers []worker, pair int) []worker {
	n := len(workers)
	first := ((pair-1)%n + n) % n
	return slices.Concat(workers[first:], workers[:first])
}

// runOnce runs one worker into a fresh topic, with a fresh group if it reads, and checks what it wrote.
func (b *bench) runOnce(ctx context.Context, pair int, w worker, input string) (r run, err error) {
	name := fmt.Sprintf("%s-%s-%d", b.prefix, w.name, time.Now().UnixNano())
	if err := b.admin.createTopic(ctx, name); err != nil {
		return run{}, err
	}
	group := ""
	if input != "" {
		group = name
	}
	defer func() { err = errors.Join(err, b.cleanup(ctx, name, group)) }()

	r = run{Pair: pair, Worker: w.name, OtherLoad: -1, BrokerCPU: -1}
	r.LoadBefore, r.Quiet = awaitQuiet(ctx, b.idle, b.patience)
	before, began := readCPU(), time.Now()
	done, err := b.command(ctx, w.path, b.arguments(w, route{input, name, group})...)
	if err != nil {
		return run{}, err
	}
	took, after := time.Since(began).Seconds(), readCPU()
	if r.Result, err = meter.Parse(done.stdout); err != nil {
		return run{}, err
	}
	// What the system says of the ended process is the same rule for every language.
	r.CPUPerRecord = float64(done.cpu.Microseconds()) / float64(b.n)
	if before.known && after.known {
		brokers := after.brokers - before.brokers
		others := after.machine - before.machine - brokers - (after.self - before.self) - done.cpu.Seconds()
		r.OtherLoad = max(0, others/took)
		if brokers > 0 {
			r.BrokerCPU = brokers * 1e6 / float64(b.n)
		}
	}
	checked, err := b.command(ctx, b.self, "check", "-brokers", b.addresses(), "-topic", name, "-n", fmt.Sprint(b.n))
	if err != nil {
		return run{}, err
	}
	if err := json.Unmarshal([]byte(checked.stdout), &r.Verdict); err != nil {
		return run{}, fmt.Errorf("read verdict %q: %w", checked.stdout, err)
	}
	// What a worker says of itself is what the ratios are made of: it must have counted right.
	r.Exact = r.Verdict.exact(b.n) && r.Records == b.n
	return r, nil
}

func (r run) String() string {
	state := "exact"
	if !r.Exact {
		state = fmt.Sprintf("NOT EXACT: it says %d; %s", r.Records, r.Verdict)
	}
	pair := fmt.Sprintf("pair %d", r.Pair)
	if r.Pair == 0 {
		pair = "not counted"
	}
	return fmt.Sprintf("%-11s %-7s %9.0f records/s  %6.3f CPU µs/record  %6.1f MiB  %s",
		pair, r.Worker, r.rate(), r.CPUPerRecord, r.PeakMiB, state)
}

// rate is records per second, 0 if the worker wrote nothing.
func (r run) rate() float64 {
	if r.Seconds <= 0 {
		return 0
	}
	return float64(r.Records) / r.Seconds
}

func (b *bench) addresses() string { return strings.Join(b.brokers, ",") }

// cleanup removes a topic and a group, even after an interrupt.
func (b *bench) cleanup(ctx context.Context, topic, group string) error {
	if b.keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	return b.admin.remove(ctx, topic, group)
}

// finished is a process that ended well.
type finished struct {
	stdout string
	cpu    time.Duration
}

// command runs a program to its end. When ctx ends it is asked to stop, and killed if it does not.
func (b *bench) command(ctx context.Context, path string, args ...string) (finished, error) {
	ctx, cancel := context.WithTimeout(ctx, b.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 15 * time.Second
	cmd.Env = slices.DeleteFunc(os.Environ(), func(entry string) bool {
		// All run as Go and Java do by default.
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains([]string{"GOGC", "GOMEMLIMIT", "GODEBUG", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS"}, name)
	})
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return finished{}, fmt.Errorf("%s %s: %w\n%s", path, strings.Join(args, " "), errors.Join(err, ctx.Err()), stderr.Bytes())
	}
	return finished{stdout.String(), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}
