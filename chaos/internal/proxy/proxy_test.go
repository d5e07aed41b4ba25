package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
)

// Without rules nothing is lost, doubled or changed.
func TestTransparent(t *testing.T) {
	const n, partitions = 200_000, 6
	b := newBench(t, 3, kfake.SeedTopics(partitions, "t"))
	b.flood(0, n, partitions)
	b.wantOnce(n, partitions)
}

// With rules that come and go, and a client that retries, neither.
func TestRulesUnderLoad(t *testing.T) {
	const n, partitions = 6_000, 6
	b := newBench(t, 3, kfake.SeedTopics(partitions, "t"))
	rnd := rand.New(rand.NewPCG(1, 2))
	m := Match{APIKeys: []kmsg.Key{kmsg.Produce}, ClientIDPrefix: "kgo", Count: 2}
	kinds := []func() *Rule{
		func() *Rule { return b.Hold(m).Rule },
		func() *Rule { return b.Drop(m) },
		func() *Rule { return b.Reset(m) },
		func() *Rule { return b.CutAfterApplied(m) },
		func() *Rule { return b.Delay(m, time.Millisecond) },
		func() *Rule { return b.Blackhole(rnd.Int32N(3)) },
		func() *Rule { return b.Latency(time.Millisecond) },
		func() *Rule { return b.Refuse(rnd.Int32N(3)) },
		func() *Rule { return b.Rate(10 << 20) },
	}
	stop := make(chan struct{})
	struck := make([]atomic.Int64, len(kinds))
	var faults sync.WaitGroup
	faults.Go(func() {
		for {
			kind := rnd.IntN(len(kinds))
			r := kinds[kind]()
			select {
			case <-stop:
			case <-time.After(time.Duration(1+rnd.IntN(5)) * time.Millisecond):
			}
			struck[kind].Add(r.Hits())
			r.Remove()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	defer faults.Wait()
	total := 0
	all := func() bool {
		for kind := range struck {
			if struck[kind].Load() == 0 {
				return false
			}
		}
		return true
	}
	func() {
		defer close(stop)
		for deadline := time.Now().Add(patience); !all(); {
			if time.Now().After(deadline) {
				t.Fatalf("struck %v", struck)
			}
			b.flood(total, total+n, partitions)
			total += n
		}
	}()
	faults.Wait()
	b.wantOnce(total, partitions)
	checktest.Await(t, "held bytes to be given back", patience, func() bool { return b.held.Load() == 0 })
}

// flood produces numbered records through the proxy.
func (b *bench) flood(from, to, partitions int) {
	b.t.Helper()
	cl := b.client(append(fast, kgo.DefaultProduceTopic("t"))...)
	defer cl.Close()
	var failed atomic.Int64
	for i := from; i < to; i++ {
		r := &kgo.Record{Partition: int32(i % partitions), Value: fmt.Appendf(nil, "%0100d", i)}
		cl.Produce(b.t.Context(), r, func(_ *kgo.Record, err error) {
			if err != nil && failed.Add(1) == 1 {
				b.t.Errorf("produce: %v", err)
			}
		})
	}
	must(b.t, cl.Flush(within(b.t)))
}

// wantOnce reads them through the proxy, in order.
func (b *bench) wantOnce(n, partitions int) {
	b.t.Helper()
	cl := b.client(kgo.ConsumeTopics("t"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	next := make([]int, partitions)
	for got := 0; got < n; {
		fetches := cl.PollFetches(within(b.t))
		must(b.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			want := fmt.Sprintf("%0100d", next[r.Partition]*partitions+int(r.Partition))
			if string(r.Value) != want {
				b.t.Fatalf("partition %d, offset %d: %s, want %s", r.Partition, r.Offset, r.Value, want)
			}
			next[r.Partition]++
			got++
		})
	}
}

// A frame larger than any buffer streams through: no memory is taken for it.
func TestLargeFramesStream(t *testing.T) {
	_, p := newEcho(t, Config{})
	c := dial(t, p)
	c.send(1)
	c.wantAnswers(1)
	const size = 256 << 20
	p.Drop(Match{Where: TransactionalID("another")}) // a rule that looks into it changes nothing
	var before, after runtime.MemStats
	chunk := make([]byte, 1<<20)
	head := make([]byte, 14)
	binary.BigEndian.PutUint32(head, 10+size)
	binary.BigEndian.PutUint32(head[8:], 2)
	binary.BigEndian.PutUint16(head[12:], 0xffff) // no client id
	runtime.ReadMemStats(&before)
	_, err := c.Write(head)
	must(t, err)
	for range size / len(chunk) {
		_, err := c.Write(chunk)
		must(t, err)
	}
	c.wantAnswers(2)
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d MiB were allocated for a frame of %d MiB", grown>>20, size>>20)
	}
}

// What is remembered of requests that are not answered is bounded.
func TestInFlightIsBounded(t *testing.T) {
	e, p := newEcho(t, Config{})
	e.setMute(true)
	c := dial(t, p)
	const n = 5 * maxInFlight
	sent := background(func() error {
		for id := range int32(n) {
			if _, err := c.Write(heartbeat(id)); err != nil {
				return err
			}
		}
		return nil
	})
	checktest.Await(t, "as many as may be in flight", patience, func() bool { return len(e.arrived()) >= maxInFlight })
	must(t, await(t, "all to be sent", sent))
	e.setMute(false)
	for id := range int32(n) {
		c.wantAnswers(id)
	}
	if e.most > maxInFlight {
		t.Errorf("%d were in flight, want at most %d", e.most, maxInFlight)
	}
}

// Requests that are never answered are not remembered.
func TestProduceWithoutAcks(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	req := kmsg.NewPtrProduceRequest()
	req.Acks = 0
	for _, version := range []int16{2, 3, 8, 9, 13} {
		req.SetVersion(version)
		for range maxInFlight {
			_, err := c.Write(new(kmsg.RequestFormatter).AppendRequest(nil, req, -1))
			must(t, err)
		}
	}
	c.send(1)
	c.wantAnswers(1)
	// One whose connection is cut after it, which is all that can be done.
	rule := p.CutAfterApplied(Match{APIKeys: []kmsg.Key{kmsg.Produce}})
	_, err := c.Write(new(kmsg.RequestFormatter).AppendRequest(nil, req, -2))
	must(t, err)
	c.wantCut()
	must(t, rule.Wait(within(t), 1))
	checktest.Await(t, "the last one", patience, func() bool { got := e.arrived(); return got[len(got)-1] == -2 })
}

// Bytes that are not Kafka's end the connection.
func TestNotKafka(t *testing.T) {
	for name, bytes := range map[string]string{
		"http":            "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"negative size":   "\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff",
		"smaller than it": "\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff",
		"client id":       "\x00\x00\x00\x0a\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05",
	} {
		t.Run(name, func(t *testing.T) {
			e, p := newEcho(t, Config{})
			c := dial(t, p)
			_, err := io.WriteString(c, bytes)
			must(t, err)
			c.wantCut()
			if got := e.arrived(); len(got) > 0 {
				t.Errorf("arrived %v", got)
			}
		})
	}
}

// A broker that is not there ends a connection; one that has come back is reached.
func TestBrokerGone(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	c.send(1)
	c.wantAnswers(1)
	e.hangUp()
	c.wantCut()
	c = dial(t, p)
	c.wantCut()
}

func TestStart(t *testing.T) {
	if _, err := Start(Config{}); err == nil {
		t.Error("started without brokers")
	}
	if _, err := Start(Config{Brokers: map[int32]Broker{1: {}}}); err == nil {
		t.Error("started without an upstream address")
	}
	_, p := newEcho(t, Config{})
	if _, err := Start(Config{Brokers: map[int32]Broker{1: {Listen: p.Addr(1), Upstream: "127.0.0.1:1"}}}); err == nil {
		t.Error("started on a port that is taken")
	}
	if p.Addr(2) != "" || len(p.Addrs()) != 1 {
		t.Errorf("addresses %q, %q", p.Addr(2), p.Addrs())
	}
	var both sync.WaitGroup
	both.Go(p.Close)
	both.Go(p.Close)
	both.Wait()
}
