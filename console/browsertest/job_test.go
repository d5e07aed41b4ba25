//go:build real && unix

package browsertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/sinks/kafka"
)

// rate is how many orders a second are generated.
const rate = 300

// job is examples/orders as a process of its own, with a console.
type job struct {
	t       *testing.T
	brokers []string
	url     string
	process *os.Process
}

// environment is a variable that scripts/test-browser sets.
func environment(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set; use scripts/test-browser", name)
	}
	return v
}

func startJob(t *testing.T) *job {
	t.Helper()
	brokers, registry := environment(t, "LEAT_TEST_BROKERS"), environment(t, "LEAT_TEST_REGISTRY")
	program := filepath.Join(t.TempDir(), "orders")
	build := exec.Command("go", "build", "-o", program, "./examples/orders")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	cmd := exec.Command(program, "-brokers", brokers, "-registry", registry, "-create-topics", "-n", "1000", "-rate", strconv.Itoa(rate),
		"-group", "browser-"+strings.ToLower(rand.Text()), "-http", ":0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	url := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if address, ok := strings.CutPrefix(lines.Text(), "console at "); ok {
				url <- address
			}
		}
	})
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have been ended
		reading.Wait()
		_ = cmd.Wait() // it was killed
	})
	select {
	case address := <-url:
		return &job{t: t, brokers: strings.Split(brokers, ","), url: address, process: cmd.Process}
	case <-time.After(time.Minute):
		t.Fatal("the job does not start")
		return nil
	}
}

// state is what the page is given.
func (j *job) state() console.RunState {
	j.t.Helper()
	answer, err := http.Get(j.url + "state.json")
	if err != nil {
		j.t.Fatal(err)
	}
	defer answer.Body.Close()
	var s console.State
	if err := json.NewDecoder(answer.Body).Decode(&s); err != nil || len(s.Runs) != 1 {
		j.t.Fatalf("%d runs, %v", len(s.Runs), err)
	}
	return s.Runs[0]
}

// poison writes a record that is no order and returns when the broker has it.
func (j *job) poison(value string) {
	j.t.Helper()
	ctx, cancel := context.WithTimeout(j.t.Context(), 30*time.Second)
	defer cancel()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: j.brokers})
	if err != nil {
		j.t.Fatal(err)
	}
	if _, err := p.SendSync(ctx, kafka.Record{Topic: "orders", Key: []byte("poison"), Value: []byte(value)}); err != nil {
		j.t.Error(err)
	}
	if err := p.Close(ctx); err != nil {
		j.t.Error(err)
	}
}

// freezeBroker stops the broker's process until thaw is called, or the test ends.
func freezeBroker(t *testing.T) (thaw func()) {
	t.Helper()
	pid, err := strconv.Atoi(environment(t, "LEAT_TEST_BROKER_PID"))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw = func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(thaw)
	return thaw
}
