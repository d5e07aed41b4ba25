//go:build unix

package checktest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Build compiles a command into dir and returns its path.
func Build(dir, importPath string) (string, error) {
	out := filepath.Join(dir, filepath.Base(importPath))
	if msg, err := exec.Command("go", "build", "-o", out, importPath).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", importPath, err, msg)
	}
	return out, nil
}

// Process is a worker as a process of its own. It is killed at the test's end if
// it is still there.
type Process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	exited chan struct{} // closed: it has ended, and cmd's state is valid

	mu             sync.Mutex
	stdout, stderr bytes.Buffer
}

// Start starts a process.
func Start(t testing.TB, name, binary string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: name, cmd: exec.Command(binary, args...), exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &locked{p: p, b: &p.stdout}, &locked{p: p, b: &p.stderr}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		_ = p.cmd.Wait() // its state says more
		close(p.exited)
	}()
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s wrote:\n%s%s", p.name, p.Stdout(), p.Stderr())
		}
	})
	return p
}

type locked struct {
	p *Process
	b *bytes.Buffer
}

func (l *locked) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	return l.b.Write(b)
}

// Stdout returns what the process has written there so far.
func (p *Process) Stdout() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stdout.String()
}

// Stderr returns what the process has written there so far.
func (p *Process) Stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// Kill ends the process with SIGKILL, unless it has ended, and waits for that.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.exited
}

// Signal sends a signal to the process if it runs.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("send %v to %s: %v", s, p.name, err)
	}
}

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Wait returns the exit code, and fails the test if there is none in time.
func (p *Process) Wait(within time.Duration) int {
	p.t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-deadline.C:
		p.t.Fatalf("%s has not ended after %v; it wrote:\n%s%s", p.name, within, p.Stdout(), p.Stderr())
		return -1
	}
}

// Resident returns the memory that the process takes now, in MiB.
func (p *Process) Resident() float64 {
	p.t.Helper()
	out, err := exec.Command("ps", "-p", strconv.Itoa(p.cmd.Process.Pid), "-o", "rss=").Output()
	kib, perr := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err := errors.Join(err, perr); err != nil {
		p.t.Fatalf("the memory of %s: %v", p.name, err)
	}
	return kib / 1024
}

// Terminate sends SIGTERM and returns the exit code and how long it took.
func (p *Process) Terminate(within time.Duration) (code int, took time.Duration) {
	p.t.Helper()
	began := time.Now()
	p.Signal(syscall.SIGTERM)
	return p.Wait(within), time.Since(began)
}

// Result is the last line that leat copy writes to stdout.
type Result struct {
	Records                       int64
	Seconds, MicrosPerRecord, MiB float64
}

var resultLine = regexp.MustCompile(`(?:^|\n)records=(\d+) seconds=(\d+\.\d+) cpu_us_per_record=(\d+\.\d+) peak_rss_mib=(\d+\.\d+)\n$`)

// ParseResult reads the last line of stdout.
func ParseResult(stdout string) (r Result, err error) {
	m := resultLine.FindStringSubmatch(stdout)
	if m == nil {
		return r, fmt.Errorf("stdout does not end in the result line: %q", stdout)
	}
	r.Records, err = strconv.ParseInt(m[1], 10, 64)
	for i, f := range []*float64{&r.Seconds, &r.MicrosPerRecord, &r.MiB} {
		var ferr error
		*f, ferr = strconv.ParseFloat(m[i+2], 64)
		err = errors.Join(err, ferr)
	}
	return r, err
}
