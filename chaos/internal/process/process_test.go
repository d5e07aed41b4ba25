//go:build unix

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// TestMain lets the test's own program stand in for a harness that starts a child, and
// for the child.
func TestMain(m *testing.M) {
	switch os.Getenv("LEAT_TEST_ROLE") {
	case "harness":
		runtime.LockOSThread() // the main thread never ends: the child shall have another
		p, err := Start(stand("child"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		// Threads that end must not take the child along: end those that are idle, and more.
		var ending sync.WaitGroup
		for range 200 {
			ending.Go(runtime.LockOSThread)
		}
		ending.Wait()
		select {
		case <-p.exited:
			os.Exit(1)
		case <-time.After(100 * time.Millisecond): // by then it would be noticed
		}
		fmt.Println(p.Pid())
		<-p.exited
		os.Exit(1)
	case "child":
		time.Sleep(time.Hour) // until it is killed
	}
	os.Exit(m.Run())
}

// stand is this program in another role.
func stand(role string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEAT_TEST_ROLE="+role)
	return cmd
}

// exists tells whether there is a process; one that nobody has waited for is none.
func exists(pid int) bool {
	out, _ := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "stat=").Output()
	state := strings.TrimSpace(string(out))
	return state != "" && !strings.HasPrefix(state, "Z")
}

func TestProcess(t *testing.T) {
	p, err := Start(stand("child"))
	if err != nil {
		t.Fatal(err)
	}
	if !p.Running() {
		t.Error("does not run")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait returned %v", err)
	}
	for range 2 { // the second time it is gone
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	}
	if p.Running() || exists(p.Pid()) {
		t.Error("still runs")
	}
}

// A stopped process is killed, too.
func TestKillStopped(t *testing.T) {
	p, err := Start(stand("child"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	if err := p.Kill(); err != nil {
		t.Error(err)
	}
}

func TestStartFails(t *testing.T) {
	if _, err := Start(exec.Command(filepath.Join(t.TempDir(), "none"))); err == nil {
		t.Error("started what is not there")
	}
}

func TestRun(t *testing.T) {
	dir := t.TempDir()
	if err := Run(t.Context(), exec.Command("true"), filepath.Join(dir, "log")); err != nil {
		t.Error(err)
	}
	err := Run(t.Context(), exec.Command("sh", "-c", "echo reason >&2; exit 3"), filepath.Join(dir, "log"))
	if err == nil || !strings.Contains(err.Error(), "reason") {
		t.Errorf("%v does not say what was written", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := Run(ctx, stand("child"), filepath.Join(dir, "log")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's", err)
	}
}

func TestTail(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	for text, want := range map[string]string{
		"a\n[main] ERROR kafka.Kafka - x\njava.net.BindException: taken\n\tat y\nb\n": "[main] ERROR kafka.Kafka - x\njava.net.BindException: taken",
		"a\nb\n":                   "a\nb\n",
		strings.Repeat("x", 5<<10): strings.Repeat("x", 2<<10),
	} {
		if err := os.WriteFile(log, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := Tail(log); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := Tail(log + "x"); got == "" {
		t.Error("says nothing about a log that is not there")
	}
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	checktest.Await(t, what, patience, done)
}
