package interop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// The worker that is killed is this test's own program, started again with these.
const (
	workerName    = "LEAT_SQL_WORKER"
	workerBrokers = "LEAT_SQL_BROKERS"
	workerTopic   = "LEAT_SQL_TOPIC"
	workerDB      = "LEAT_SQL_DATABASE"
	workerDSN     = "LEAT_SQL_DSN"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(workerName); name != "" {
		if err := work(name); err != nil {
			slog.Error("worker", "name", name, "error", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work runs the pipeline from Kafka to the database until it is told to stop.
func work(name string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	d := named(os.Getenv(workerDB))
	db := checksql.Open(d.driver, os.Getenv(workerDSN), nil)
	defer db.Close()
	topic := os.Getenv(workerTopic)
	source := kafkasource.New(kafkasource.Config{
		Brokers: strings.Split(os.Getenv(workerBrokers), ","), Instance: name, SessionTimeout: 6 * time.Second, HeartbeatInterval: 200 * time.Millisecond,
	})
	return pipeline.Run(ctx, newPipelineOf(topic, topic), source, newSink(d, db), pipeline.CommitEvery(10*time.Millisecond, 20, 0))
}

// process is a worker's.
type process struct {
	cmd  *exec.Cmd
	done chan error
}

func start(t *testing.T, name string, env ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(os.Args[0]), done: make(chan error, 1)}
	p.cmd.Env = append(append(os.Environ(), workerName+"="+name), env...)
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
	})
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	err := <-p.done
	p.done <- err
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("the worker had ended before it was killed: %v", err)
	}
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-p.done
	p.done <- err
	return err
}

// brokersWith returns the Kafka that LEAT_TEST_BROKERS names, or one in this process, with
// a topic of four partitions.
func brokersWith(t *testing.T, topic string) []string {
	t.Helper()
	if real := os.Getenv("LEAT_TEST_BROKERS"); real != "" {
		brokers := strings.Split(real, ",")
		checktest.Dial(t, brokers).CreateTopic(topic, 4, nil)
		return brokers
	}
	fake, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: topic, Partitions: 4}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fake.Close() })
	return fake.Brokers()
}

const kills = 25

// Two workers share a topic and write to one database. Now the one, now the other is killed with
// SIGKILL, in the midst of its work, and started again. Each record has its effect once.
func TestKill9(t *testing.T) {
	on(t, func(t *testing.T, d database) {
		topic := fmt.Sprintf("leat-kill-%s-%d", d.name, time.Now().UnixNano())
		brokers := brokersWith(t, topic)
		producer, err := kafka.NewProducer(t.Context(), kafka.ProducerSettings{Brokers: brokers})
		if err != nil {
			t.Fatal(err)
		}
		defer producer.Close(context.Background())
		dsn := d.fresh(t)
		db := d.open(t, dsn, nil)
		setup(t, db)
		env := []string{workerBrokers + "=" + strings.Join(brokers, ","), workerTopic + "=" + topic, workerDB + "=" + d.name, workerDSN + "=" + dsn}
		workers := []*process{start(t, "w0", env...), start(t, "w1", env...)}

		var want []string
		bad := 0
		feeding, enough := context.WithCancel(t.Context())
		fed := make(chan struct{})
		go func() { // a record each millisecond, so that there is always work
			defer close(fed)
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for n := 0; feeding.Err() == nil; n++ {
				<-tick.C
				v := fmt.Sprint(n)
				if n%50 == 7 {
					v, bad = "bad"+v, bad+1
				} else {
					want = append(want, v)
				}
				if err := producer.Send(context.Background(), kafka.Record{Topic: topic, Key: []byte(v), Value: []byte(v)}, nil); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		defer func() { enough(); <-fed }()
		effects := func() (n int) {
			if err := db.QueryRow("SELECT (SELECT COUNT(*) FROM effects) + (SELECT COUNT(*) FROM letters)").Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		chance := rand.New(rand.NewPCG(seed, 0))
		for range kills {
			goal := effects() + 50 + chance.IntN(100)
			checktest.Await(t, "more effects", 30*time.Second, func() bool { return effects() >= goal })
			<-time.After(time.Duration(chance.IntN(30_000)) * time.Microsecond) // or it would always be just behind a commit
			i := chance.IntN(len(workers))
			workers[i].kill(t)
			workers[i] = start(t, fmt.Sprintf("w%d", i), env...)
		}
		enough()
		<-fed
		checktest.Await(t, "all effects", time.Minute, func() bool { return effects() >= len(want)+bad })
		for _, w := range workers {
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		}
		if err := check(db, want, bad); err != nil {
			t.Error(err)
		}
		t.Logf("%d records, %d kills", len(want)+bad, kills)
	})
}
