//go:build chaos && unix

package cluster

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/chaos/internal/proxy"
	"github.com/leat-stream/leat/internal/checktest"
)

// recovery bounds every wait for brokers.
const recovery = 2 * time.Minute

// within bounds a wait.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), recovery)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// config is that of the tests' cluster, which scripts/test-chaos gives the means for.
func config(t *testing.T) Config {
	t.Helper()
	port, err := strconv.Atoi(os.Getenv("LEAT_CHAOS_PORT"))
	if err != nil {
		t.Fatal("LEAT_CHAOS_PORT is not set; scripts/test-chaos sets it")
	}
	return Config{Libs: os.Getenv("LEAT_TEST_KAFKA_LIBS"), Port: port, Dir: t.TempDir()}
}

// A cluster's life: what a scenario does to it, with a producer that goes on all the
// while and loses nothing.
func TestCluster(t *testing.T) {
	checktest.NoLeaks(t, "chaos/internal/")
	conf := config(t)
	c, err := Start(within(t), conf)
	must(t, err)
	defer c.Close()
	var pids []int
	for _, b := range c.nodes {
		pids = append(pids, b.process.Pid())
	}
	must(t, c.CreateTopics(within(t), 3, "t"))

	// Who asks at Bootstrap is led to the proxies, who asks at Direct past them.
	seen := c.Proxy().Delay(proxy.Match{APIKeys: []kmsg.Key{kmsg.Produce}}, 0)
	load := produce(t, c)
	load.await(100)
	passed := seen.Hits()
	if passed == 0 {
		t.Error("Bootstrap leads past the proxies")
	}
	direct := client(t, c.Direct(), kgo.DefaultProduceTopic("t"))
	elsewhere := c.Proxy().Drop(proxy.Match{ClientID: "direct"})
	must(t, direct.ProduceSync(within(t), kgo.StringRecord("direct")).FirstErr())
	if elsewhere.Hits() != 0 {
		t.Error("Direct leads through the proxies")
	}
	elsewhere.Remove()
	seen.Remove()

	t.Run("kill", func(t *testing.T) {
		node, err := c.Leader(within(t), "t", 0)
		must(t, err)
		must(t, c.Kill(node))
		if err := c.Kill(node); err == nil {
			t.Error("killed twice")
		}
		c.awaitOtherLeader(t, node)
		load.await(100)
		must(t, c.Restart(within(t), node))
		if err := c.Restart(within(t), node); err == nil {
			t.Error("started twice")
		}
		must(t, c.Ready(within(t)))
	})
	t.Run("stop", func(t *testing.T) {
		node, err := c.Leader(within(t), "t", 1)
		must(t, err)
		must(t, c.Stop(node))
		c.awaitOtherLeader(t, node)
		must(t, c.Ready(within(t))) // the others are whole
		load.await(100)
		must(t, c.Cont(node))
		must(t, c.Ready(within(t)))
		load.await(100)
	})
	t.Run("terminate", func(t *testing.T) {
		node, err := c.Leader(within(t), "t", 2)
		must(t, err)
		must(t, c.Terminate(within(t), node))
		load.await(100)
		must(t, c.Restart(within(t), node))
		must(t, c.Ready(within(t)))
	})
	t.Run("balance", func(t *testing.T) {
		led := func() int {
			nodes := map[int32]bool{}
			for p := range int32(3) {
				node, err := c.Leader(within(t), "t", p)
				must(t, err)
				nodes[node] = true
			}
			return len(nodes)
		}
		t.Logf("%d of 3 brokers lead a partition", led()) // seldom all, since each of the leaders was gone
		must(t, c.Balance(within(t)))
		checktest.Await(t, "each broker to lead a partition", recovery, func() bool { return led() == 3 })
	})
	t.Run("coordinators", func(t *testing.T) {
		for name, find := range map[string]func(context.Context, string) (int32, error){
			"transactions": c.TxnCoordinator, "groups": c.GroupCoordinator,
		} {
			node, err := find(within(t), "some id")
			must(t, err)
			must(t, c.Kill(node))
			checktest.Await(t, "another coordinator of "+name, recovery, func() bool {
				other, err := find(within(t), "some id")
				must(t, err)
				return other != node
			})
			must(t, c.Restart(within(t), node))
			must(t, c.Ready(within(t)))
		}
	})
	t.Run("late EndTxn", func(t *testing.T) { lateEndTxn(t, c) })
	load.check(c)

	for _, err := range []error{c.Kill(4), c.Stop(0), c.Restart(within(t), -1)} {
		if err == nil {
			t.Error("there is no such broker, and no error")
		}
	}
	for range 2 {
		must(t, c.Close())
	}
	if left, err := os.ReadDir(conf.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	for _, b := range c.nodes {
		pids = append(pids, b.process.Pid())
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil { // they were waited for
			t.Errorf("process %d is left", pid)
		}
	}
}

// A start that fails says why, and leaves nothing.
func TestStartThatFails(t *testing.T) {
	conf := config(t)
	conf.Properties = map[string]string{"min.insync.replicas": "many"}
	if c, err := Start(within(t), conf); err == nil {
		_ = c.Close()
		t.Fatal("started")
	} else if !strings.Contains(err.Error(), "min.insync.replicas") {
		t.Errorf("%v does not say why", err)
	}
	if left, err := os.ReadDir(conf.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// A broker that ends although nobody told it to is an error of whoever waits for it.
func TestBrokerEndsByItself(t *testing.T) {
	c, err := Start(within(t), config(t))
	must(t, err)
	defer c.Close()
	b := c.nodes[1]
	must(t, b.process.Kill())
	for name, err := range map[string]error{"Ready": c.Ready(within(t)), "CreateTopics": c.CreateTopics(within(t), 1, "t")} {
		if err == nil || !strings.Contains(err.Error(), "broker 2 has ended") {
			t.Errorf("%s returned %v", name, err)
		}
	}
	must(t, c.AwaitEnd(within(t), 2))
	must(t, c.Ready(within(t))) // the others are whole
	must(t, c.Restart(within(t), 2))
	must(t, c.Ready(within(t)))
}

// awaitOtherLeader waits until a broker leads nothing any more.
func (c *Cluster) awaitOtherLeader(t *testing.T, node int32) {
	t.Helper()
	checktest.Await(t, "other leaders", recovery, func() bool {
		for p := range int32(3) {
			leader, err := c.Leader(within(t), "t", p)
			must(t, err)
			if leader == node {
				return false
			}
		}
		return true
	})
}

func client(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("direct"), kgo.AlwaysRetryEOF(), kgo.MetadataMinAge(100 * time.Millisecond),
	}, opts...)...)
	must(t, err)
	t.Cleanup(cl.Close)
	return cl
}

// load is a producer through the proxies that writes numbers.
type load struct {
	t    *testing.T
	stop context.CancelFunc
	work sync.WaitGroup

	mu    sync.Mutex
	acked int
}

func produce(t *testing.T, c *Cluster) *load {
	l := &load{t: t}
	ctx, stop := context.WithCancel(t.Context())
	l.stop = stop
	cl := client(t, c.Bootstrap(), kgo.ClientID("load"), kgo.DefaultProduceTopic("t"),
		kgo.ProduceRequestTimeout(3*time.Second), kgo.RequestTimeoutOverhead(2*time.Second))
	l.work.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			// In one partition after the other, so that each fault meets some.
			r := &kgo.Record{Key: fmt.Append(nil, n%64), Value: fmt.Append(nil, n)}
			if err := cl.ProduceSync(context.WithoutCancel(ctx), r).FirstErr(); err != nil {
				t.Errorf("record %d: %v", n, err)
				return
			}
			l.mu.Lock()
			l.acked++
			l.mu.Unlock()
		}
	})
	t.Cleanup(func() { stop(); l.work.Wait() })
	return l
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// await waits until so many more are acknowledged.
func (l *load) await(more int) {
	l.t.Helper()
	want := l.count() + more
	checktest.Await(l.t, fmt.Sprintf("%d records", want), recovery, func() bool { return l.count() >= want })
}

// check reads all of it: each record once.
func (l *load) check(c *Cluster) {
	l.t.Helper()
	l.stop()
	l.work.Wait()
	cl := client(l.t, c.Direct(), kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]int{}
	for total := 0; total < l.count()+1; {
		fetches := cl.PollFetches(within(l.t))
		must(l.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			total++
			if seen[string(r.Value)]++; seen[string(r.Value)] > 1 {
				l.t.Errorf("%s is there %d times", r.Value, seen[string(r.Value)])
			}
		})
	}
	for n := range l.count() {
		if seen[strconv.Itoa(n)] == 0 {
			l.t.Errorf("%d was acknowledged and is missing", n)
		}
	}
	l.t.Logf("%d records", l.count())
}

// lateEndTxn shows on real brokers what held requests are for: a commit that the client
// had repeated with success arrives during the next transaction, and commits that one
// (KAFKA-17754, of clients without transaction version 2).
func lateEndTxn(t *testing.T, c *Cluster) {
	must(t, c.CreateTopics(within(t), 1, "late"))
	ctx := within(t)
	old := kversion.Stable()
	old.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	old.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	old.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	cl := client(t, c.Bootstrap(), kgo.TransactionalID("late"), kgo.DefaultProduceTopic("late"), kgo.MaxVersions(old))
	write := func(v string) {
		t.Helper()
		must(t, cl.BeginTransaction())
		must(t, cl.ProduceSync(ctx, kgo.StringRecord(v)).FirstErr())
	}
	write("committed")
	hold := c.Proxy().Hold(proxy.Match{APIKeys: []kmsg.Key{kmsg.EndTxn}, Where: proxy.TransactionalID("late"), Count: 1})
	ended := make(chan error, 1)
	go func() { ended <- cl.EndTransaction(ctx, kgo.TryCommit) }()
	must(t, hold.Wait(ctx, 1))
	hold.Cut()
	must(t, <-ended)

	write("never committed by its client")
	answers, err := hold.Release(ctx)
	must(t, err)
	must(t, kerr.ErrorForCode(answers[0].(*kmsg.EndTxnResponse).ErrorCode))
	reader := client(t, c.Direct(), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"late": {0: kgo.NewOffset().AtStart()}}))
	var got []string
	for len(got) < 2 {
		fetches := reader.PollFetches(ctx)
		must(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	if want := []string{"committed", "never committed by its client"}; !slices.Equal(got, want) {
		t.Errorf("read as committed %q, want %q", got, want)
	}
}
