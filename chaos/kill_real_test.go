//go:build unix && real

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// process is a worker as a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer
	ended  chan struct{}
}

func buildChaos(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "chaos")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}

func (r *rig) process(t *testing.T, binary, name string, flags ...string) *process {
	t.Helper()
	args := append([]string{
		"worker", "-brokers", strings.Join(r.brokers, ","), "-topics", r.group, "-group", r.group, "-instance", name,
		"-heartbeat-interval", "500ms", "-session-timeout", "10s",
	}, flags...)
	if r.topics.Counts != "" {
		args = append(args, "-counts")
	}
	p := &process{t: t, cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = r.recorder.Worker(name), &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // its state says more
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.ended
}

// terminate ends the process, which must obey.
func (p *process) terminate() {
	p.t.Helper()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(20 * time.Second):
		p.t.Error("a worker does not end")
		p.kill()
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("a worker ended with exit code %d:\n%s", code, p.stderr.String())
	}
}

func realBrokers(t *testing.T) []string {
	t.Helper()
	brokers := os.Getenv("LEAT_TEST_BROKERS")
	if brokers == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set")
	}
	return strings.Split(brokers, ",")
}

// killed runs two workers, of which one is killed and started anew three times.
func (r *rig) killed(t *testing.T, n uint64, flags ...string) *check.Report {
	t.Helper()
	binary := buildChaos(t)
	workers := map[string]*process{}
	for i, name := range []string{"w0", "w1"} {
		workers[name] = r.process(t, binary, name, append(flags, "-seed", fmt.Sprint(i))...)
	}
	r.owning("w0", "w1")
	r.write(n, 8000, func() bool { return true })
	var faults []check.Fault
	for i := range 3 {
		r.await("input", func() bool { return r.writer.Written() > int64(n)*int64(i+1)/4 })
		began := time.Now()
		workers["w0"].kill()
		workers["w0"] = r.process(t, binary, "w0", append(flags, "-seed", fmt.Sprint(10+i))...)
		faults = append(faults, check.Fault{Name: fmt.Sprint("kill -9 of w0, number ", i+1), Began: began, Healed: time.Now()})
	}
	x := r.expect()
	r.committed(x)
	for _, w := range workers {
		w.terminate()
	}
	total := r.recorder.Worker("w0").Total()
	return r.judge(x, check.Evidence{
		Faults: faults, Bounds: check.Bounds{Goroutines: 200, RSS: 400 << 20},
		Counters: []check.Counter{{Name: "processes of w0", Got: r.recorder.Worker("w0").Processes(), Least: 4}, {Name: "commits of w0", Got: total.Commits, Least: 10}},
	})
}

// TestKilledWorkersAreExact kills workers that make a third of their transactions fail.
func TestKilledWorkersAreExact(t *testing.T) {
	for name, flags := range map[string][]string{
		"units":     {"-aborts", "0.33"},
		"stateless": {"-aborts", "0.33", "-manifest=false"},
		"eager":     {"-aborts", "0.33", "-assignment", "range"},
	} {
		t.Run(name, func(t *testing.T) {
			g := workload.Usual(2, inputPartitions)
			g.Bursts = 0.0001
			r := newRig(t, realBrokers(t), "killed-"+name, g, false, name != "stateless")
			if err := r.killed(t, 100_000, flags...).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestCheckerNoticesAtLeastOnce is the proof that the one above can fail.
func TestCheckerNoticesAtLeastOnce(t *testing.T) {
	r := newRig(t, realBrokers(t), "doubled", workload.Usual(3, inputPartitions), false, false)
	report := r.killed(t, 100_000, "-delivery", "at-least-once", "-commit-interval", "1s")
	for _, want := range []check.Invariant{check.Delivered, check.Ordered, check.Atomic} {
		if !report.Violated(want) {
			t.Errorf("%v holds, of a worker that doubles", want)
		}
	}
}
