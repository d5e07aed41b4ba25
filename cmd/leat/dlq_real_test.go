//go:build real && unix

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
)

// realLetters is a dead-letter topic on the real broker, and where its letters come from.
type realLetters struct {
	*checktest.Client
	t            *testing.T
	brokers      []string
	orders, dead string
	letters      int // that were written and committed
}

func newRealLetters(t *testing.T) *realLetters {
	t.Helper()
	brokers := strings.Split(os.Getenv("LEAT_TEST_BROKERS"), ",")
	if brokers[0] == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real sets it")
	}
	id := strings.ToLower(rand.Text()[:8])
	p := &realLetters{Client: checktest.Dial(t, brokers), t: t, brokers: brokers, orders: "orders-" + id, dead: "orders-" + id + ".dlq"}
	// The letters are old, and are as old in the topic that they come from.
	p.CreateTopic(p.orders, 4, map[string]string{"retention.ms": "-1"})
	p.CreateTopic(p.dead, 2, map[string]string{"message.timestamp.type": "LogAppendTime"})
	return p
}

// next are n more letters.
func (p *realLetters) next(n int) (out []*kgo.Record) {
	for range n {
		r := letterOn(p.dead, p.letters, []string{"check", "rate"}[p.letters/2%2], "no")
		for i, h := range r.Headers {
			if h.Key == "leat.topic" {
				r.Headers[i].Value = []byte(p.orders)
			}
		}
		p.letters++
		out = append(out, r)
	}
	return out
}

func (p *realLetters) start(name string, more ...string) *checktest.Process {
	return checktest.Start(p.t, name, leat, append([]string{"dlq", "redrive", "-brokers", strings.Join(p.brokers, ","), "-topic", p.dead, "-execute"}, more...)...)
}

// finish redrives what is left.
func (p *realLetters) finish() {
	p.t.Helper()
	last := p.start("the last")
	if code := last.Wait(2 * time.Minute); code != 0 {
		p.t.Fatalf("the last run ended with exit code %d: %s", code, last.Stderr())
	}
}

// wantEachOnce looks for every letter in the topic that it comes from.
func (p *realLetters) wantEachOnce() {
	p.t.Helper()
	p.AwaitVisible(p.orders) // a commit is answered before all partitions know of it
	times := map[string]int{}
	for _, r := range p.ReadAll(p.orders) {
		times[string(r.Value)]++
	}
	missing, doubled := 0, 0
	for i := range p.letters {
		switch n := times[fmt.Sprintf("v%d", i)]; {
		case n == 0:
			missing++
		case n > 1:
			doubled++
		}
	}
	if missing+doubled > 0 || len(times) != p.letters {
		p.t.Errorf("of %d letters %d are missing and %d are there more than once; there are %d different records", p.letters, missing, doubled, len(times))
	}
}

// written is how far the original topic's log goes.
func (p *realLetters) written() (n int64) {
	for _, end := range p.Ends(p.orders, false) {
		n += end
	}
	return n
}

// writeOn writes letters in transactions that stay open for a while, until ctx ends.
func (p *realLetters) writeOn(ctx context.Context) error {
	k, err := kgo.NewClient(kgo.SeedBrokers(p.brokers...), kgo.TransactionalID(p.dead), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer k.Close()
	whole := context.WithoutCancel(ctx)
	for ctx.Err() == nil {
		letters := p.next(10)
		for i, r := range letters {
			r.Partition = int32(i % 2)
		}
		if err := errors.Join(k.BeginTransaction(), k.ProduceSync(whole, letters...).FirstErr()); err != nil {
			return err
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
		if err := k.EndTransaction(whole, kgo.TryCommit); err != nil {
			return err
		}
	}
	return nil
}

// Killed in the midst of it, again and again, with filters that overlap, while pipelines
// go on writing letters, whose open transactions stand in front of markers.
func TestRealRedriveKilled(t *testing.T) {
	p := newRealLetters(t)
	p.Produce(p.next(20_000)...)
	ctx, stop := context.WithCancel(t.Context())
	wrote := make(chan error, 1)
	go func() { wrote <- p.writeOn(ctx) }()
	filters := [][]string{nil, {"-stage", "check"}, {"-stage", "rate"}, {"-partition", "1"}, {"-offset", "0-4999"}, {"-error", "no", "-same-partition"}}
	amidst := 0
	for i := range 10 {
		before := p.written()
		enough := before
		if i%3 > 0 { // else it may well be killed before it has sent anything
			enough += 1 + mathrand.Int64N(2500)
		}
		w := p.start(fmt.Sprintf("run %d", i), filters[mathrand.IntN(len(filters))]...)
		checktest.Await(t, "some progress", time.Minute, func() bool { return !w.Running() || p.written() >= enough })
		pause := time.NewTimer(time.Duration(mathrand.Int64N(int64(50 * time.Millisecond))))
		<-pause.C
		if w.Running() && p.written() > before {
			amidst++
		}
		w.Kill()
	}
	stop()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	t.Logf("killed %d times while it wrote; %d letters, %d offsets of the original topic", amidst, p.letters, p.written())
	p.finish()
	p.wantEachOnce()
	again := p.start("again")
	if code := again.Wait(time.Minute); code != 0 || !strings.Contains(again.Stdout(), fmt.Sprintf("redriven: 0 of 0 open letters; %d redriven before, 0 foreign", p.letters)) {
		t.Errorf("exit code %d: %s%s", code, again.Stdout(), again.Stderr())
	}
	if amidst == 0 {
		t.Error("it was never killed while it wrote")
	}
}

// Several operators at once: one gets through, the others are told.
func TestRealRedriveAtOnce(t *testing.T) {
	p := newRealLetters(t)
	ended := map[string]int{}
	for range 5 {
		p.Produce(p.next(4_000)...)
		a, b := p.start("a"), p.start("b", "-stage", "check")
		for _, w := range []*checktest.Process{a, b} {
			switch code := w.Wait(2 * time.Minute); {
			case code == 0:
				ended["well"]++
			case strings.Contains(w.Stderr(), "another redrive of topic"):
				ended["shut out"]++
			default:
				t.Errorf("exit code %d: %s", code, w.Stderr())
			}
		}
	}
	t.Log(ended)
	if ended["well"] < 5 {
		t.Errorf("%v: each time one must get through", ended)
	}
	p.finish()
	p.wantEachOnce()
}

// One that was stopped comes back when another one has done its work.
func TestRealRedriveWoken(t *testing.T) {
	p := newRealLetters(t)
	p.Produce(p.next(20_000)...)
	stopped := p.start("stopped")
	checktest.Await(t, "some progress", time.Minute, func() bool { return !stopped.Running() || p.written() > 0 })
	stopped.Signal(syscall.SIGSTOP)
	p.finish()
	p.wantEachOnce()
	stopped.Signal(syscall.SIGCONT)
	if code := stopped.Wait(2 * time.Minute); code != 1 || !strings.Contains(stopped.Stderr(), "another redrive of topic") {
		t.Errorf("exit code %d: %s", code, stopped.Stderr())
	}
	p.wantEachOnce()
}

func TestRealRedriveDryRun(t *testing.T) {
	p := newRealLetters(t)
	p.Produce(p.next(100)...)
	before := fmt.Sprint(p.Ends(p.orders, false), p.Ends(p.dead, false))
	o := leatWith(t.Context(), "dlq", "redrive", "-brokers", strings.Join(p.brokers, ","), "-topic", p.dead)
	o.want(t, 0)
	if after := fmt.Sprint(p.Ends(p.orders, false), p.Ends(p.dead, false)); after != before || !strings.Contains(o.stdout, "would redrive 100 of 100 open letters") {
		t.Errorf("the ends were %s, now %s; %s", before, after, o.stdout)
	}
	p.finish()
	p.wantEachOnce()
}
