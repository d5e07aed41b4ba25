//go:build unix

package checktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Brokers are the three brokers that scripts/test-three has started for the tests
// to harm. Their numbers are 1 to 3.
type Brokers struct {
	t     testing.TB
	dir   string // of the cluster: a directory for each broker, with its process id
	start string // the command that starts what does not run
	addrs []string

	mu      sync.Mutex
	stopped map[int32]bool
	mending sync.WaitGroup
}

// NumBrokers is how many there are.
const NumBrokers = 3

// OwnBrokers returns the brokers. At the test's end they all run again.
func OwnBrokers(t testing.TB) *Brokers {
	t.Helper()
	b := &Brokers{
		t: t, dir: os.Getenv("LEAT_TEST_CLUSTER"), start: os.Getenv("LEAT_TEST_CLUSTER_START"),
		addrs: strings.Split(os.Getenv("LEAT_TEST_BROKERS"), ","), stopped: map[int32]bool{},
	}
	if b.dir == "" || b.start == "" || len(b.addrs) != NumBrokers {
		t.Fatal("LEAT_TEST_CLUSTER, LEAT_TEST_CLUSTER_START or LEAT_TEST_BROKERS is not set; scripts/test-three sets them")
	}
	t.Cleanup(b.Mend)
	return b
}

// Addresses are the bootstrap addresses.
func (b *Brokers) Addresses() []string { return b.addrs }

// running returns a broker's process, or false if it has ended. The configuration
// in its command line tells it from another process that was given its id.
func (b *Brokers) running(node int32) (pid int, ok bool) {
	dir := filepath.Join(b.dir, fmt.Sprintf("node%d", node))
	text, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		return 0, false
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
		return 0, false
	}
	command, _ := exec.Command("ps", "-p", strconv.Itoa(pid), "-o", "command=").Output()
	return pid, strings.Contains(string(command), filepath.Join(dir, "server.properties"))
}

func (b *Brokers) signal(node int32, s syscall.Signal) {
	b.t.Helper()
	pid, ok := b.running(node)
	if !ok {
		b.t.Fatalf("broker %d does not run", node)
	}
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		b.t.Fatalf("send %v to broker %d: %v", s, node, err)
	}
}

// Kill ends brokers with SIGKILL and waits until they are gone.
func (b *Brokers) Kill(nodes ...int32) {
	b.t.Helper()
	for _, n := range nodes {
		b.signal(n, syscall.SIGKILL)
	}
	for _, n := range nodes {
		Await(b.t, fmt.Sprintf("the end of broker %d", n), patience, func() bool {
			_, ok := b.running(n)
			return !ok
		})
	}
}

// Stop has brokers stand still: they keep their connections and answer nothing.
func (b *Brokers) Stop(nodes ...int32) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range nodes {
		b.signal(n, syscall.SIGSTOP)
		b.stopped[n] = true
	}
}

// Wake has stopped brokers go on.
func (b *Brokers) Wake(nodes ...int32) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range nodes {
		if pid, ok := b.running(n); ok && b.stopped[n] {
			if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
				b.t.Errorf("wake broker %d: %v", n, err)
			}
		}
		delete(b.stopped, n)
	}
}

// Mend wakes and starts what does not run, and returns when all brokers answer.
func (b *Brokers) Mend() {
	b.t.Helper()
	b.mending.Wait()
	b.Wake(1, 2, 3)
	if err := b.run(); err != nil {
		b.t.Fatal(err)
	}
}

// Restart starts what does not run, and does not wait for it.
func (b *Brokers) Restart() {
	b.mending.Go(func() {
		if err := b.run(); err != nil {
			b.t.Error(err)
		}
	})
}

func (b *Brokers) run() error {
	if msg, err := exec.Command(b.start, strconv.Itoa(NumBrokers)).CombinedOutput(); err != nil {
		return fmt.Errorf("start the brokers: %w\n%s", err, msg)
	}
	return nil
}

// After has f called once d has passed, and before the brokers are mended at the
// test's end.
func (b *Brokers) After(d time.Duration, f func()) {
	b.mending.Go(func() {
		<-time.After(d)
		f()
	})
}
