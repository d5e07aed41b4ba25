package kafka_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// outcomes is an interceptor that takes notes.
type outcomes struct {
	kafka.InterceptorFuncs
	acks journal[outcome]
	ends journal[error]
}

type outcome struct {
	kafka.Result
	err error
}

func (o *outcomes) OnAcknowledgement(r kafka.Result, err error) { o.acks.add(outcome{r, err}) }
func (o *outcomes) OnTransactionEnd(err error)                  { o.ends.add(err) }

// written compares the acknowledgements of what was committed with what a reader sees.
func (o *outcomes) written(t *testing.T, records []*kgo.Record) {
	t.Helper()
	type place struct {
		topic     string
		partition int32
		offset    int64
	}
	seen := map[place]time.Time{}
	for _, a := range o.acks.list() {
		if a.err == nil {
			seen[place{a.Topic, a.Partition, a.Offset}] = a.Timestamp
		}
	}
	for _, r := range records {
		if at, ok := seen[place{r.Topic, r.Partition, r.Offset}]; !ok || !at.Equal(r.Timestamp) {
			t.Fatalf("%s[%d]@%d of %v was acknowledged: %v, at %v", r.Topic, r.Partition, r.Offset, r.Timestamp, ok, at)
		}
	}
}

// once checks that every record has exactly one header of each key, and beside those of
// its input (checktest's) and of dead letters no other.
func once(t *testing.T, records []*kgo.Record, headers ...string) {
	t.Helper()
	for _, r := range records {
		var got []string
		for _, h := range r.Headers {
			if !strings.HasPrefix(h.Key, "leat.") && h.Key != "twice" && h.Key != "id" {
				got = append(got, h.Key)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(headers) {
			t.Fatalf("%s[%d]@%d has the headers %q, want %q", r.Topic, r.Partition, r.Offset, got, headers)
		}
	}
}

func TestInterceptorsOfAPipeline(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 3)
			const n = 5000
			c.Prefill("in", n)
			host, err := kafka.StampHost("mill")
			noError(t, err, "host")
			counter, latency, notes := &kafka.ErrorCounter{}, &kafka.LatencyHistogram{}, &outcomes{}
			var stats pipeline.Stats
			cfg := c.config()
			cfg.Delivery, cfg.Stats = g, &stats
			cfg.Interceptors = []kafka.Interceptor{host, kafka.StampSendTime(), counter, latency, notes}
			began := time.Now()
			noError(t, run(t, copying("copy"), cfg), "run")
			took := time.Since(began)

			records := c.ReadAll("out")
			if len(records) != n || len(notes.acks.list()) != n || latency.Count() != n {
				t.Errorf("%d records, %d acknowledgements, %d latencies; want %d of each", len(records), len(notes.acks.list()), latency.Count(), n)
			}
			notes.written(t, records)
			once(t, records, kafka.HeaderProducerHost, kafka.HeaderSendTimestamp)
			if host := records[0].Headers[3]; string(host.Value) != "mill" { // after its input's
				t.Errorf("host %q", host.Value)
			}
			if q := latency.Quantile(1); q <= 0 || q > took+took/8 {
				t.Errorf("the longest latency is %v of a run of %v", q, took)
			}
			if n := counter.Count("out"); n != 0 {
				t.Errorf("%d errors", n)
			}
			s := stats.Snapshot()
			ends := notes.ends.list()
			if want := map[bool]int{true: int(s.Commits)}[g == pipeline.ExactlyOnce]; len(ends) != want || errors.Join(ends...) != nil || s.InterceptorFailures != 0 {
				t.Errorf("%d ends of transactions, want %d: %v; %d failures", len(ends), want, ends, s.InterceptorFailures)
			}
		})
	}
}

// What fails is undone, counted and logged now and then, and the record goes on to the
// next interceptor: also one that leaves the pipeline's topics, or moves a dead letter.
func TestInterceptorsOfAPipelineThatFail(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1), topic("gold", 1), topic("dlq", 1), topic("elsewhere", 1)}})
	var in []*kgo.Record
	for i := range 50 {
		in = append(in, text("in", "k", fmt.Sprintf("v%d", i)), text("in", "k", "bad"))
	}
	c.Produce(in...)
	add := func(name string, o *kafka.Outgoing) { o.Headers = o.Headers.Add(name, nil) }
	bad := kafka.InterceptorFuncs{
		Send: func(o *kafka.Outgoing) error {
			add("bad", o)
			o.Timestamp = time.UnixMilli(1)
			return errors.New("bad day")
		},
		Acknowledgment: func(kafka.Result, error) { panic("bad night") },
	}
	worse := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error { add("worse", o); panic("worse") }}
	astray := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error { add("astray", o); o.Topic = "elsewhere"; return nil }}
	mover := kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
		add("mover", o)
		if s, ok := o.Value().(string); !ok || s == "v7" { // no string: a dead letter
			o.Topic = "gold"
		}
		return nil
	}}
	p := pipeline.New("p", pipeline.DeadLetter("dlq"))
	good := stages.Check(pipeline.From(p, "in", serde.String()), "check", func(s string) error {
		if s == "bad" {
			return errRegion
		}
		return nil
	})
	gold, rest := stages.Split(good, "split", func(s string) bool { return s == "v8" })
	pipeline.To(gold, "gold", serde.String())
	pipeline.To(rest, "out", serde.String())
	log, stats := &syncBuffer{}, pipeline.Stats{}
	cfg := c.config()
	cfg.Interceptors = []kafka.Interceptor{bad, worse, astray, mover}
	cfg.Logger, cfg.Stats = slog.New(slog.NewTextHandler(log, nil)), &stats
	noError(t, run(t, p, cfg), "run")

	once(t, c.ReadAll("out"), "mover")
	once(t, c.ReadAll("dlq"), []string{}...) // mover's was undone
	if out, dlq := len(c.ReadAll("out")), len(c.ReadAll("dlq")); out != 48 || dlq != 50 {
		t.Errorf("%d in out, %d in dlq", out, dlq)
	}
	same(t, "gold", values(c.ReadAll("gold")), []string{"v7", "v8"})
	for _, r := range c.ReadAll("out") {
		if r.Timestamp.UnixMilli() == 1 {
			t.Fatal("the timestamp was not put back")
		}
	}
	const outputs = 100
	if got, want := stats.Snapshot().InterceptorFailures, int64(3*outputs+50+outputs); got != want { // three OnSends, mover's of dead letters, bad's acknowledgements
		t.Errorf("%d failures counted, want %d", got, want)
	}
	if lines := strings.Count(log.String(), "an interceptor failed"); lines == 0 || lines > len(cfg.Interceptors) {
		t.Errorf("log:\n%s", log)
	}
}

// An abort and its replay: OnSend again, on what the input was, and an outcome for both.
func TestInterceptorsAndReplay(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	c.Produce(numbered("in", 0, 100)...)
	var refusals atomic.Int32
	c.refuse(kerr.InvalidRecord, func() bool { return refusals.Add(1) <= 2 })
	var sends atomic.Int64
	notes := &outcomes{InterceptorFuncs: kafka.InterceptorFuncs{Send: func(*kafka.Outgoing) error { sends.Add(1); return nil }}}
	var stats pipeline.Stats
	cfg := c.config()
	cfg.Stats = &stats
	cfg.Interceptors = []kafka.Interceptor{kafka.InterceptorFuncs{Send: func(o *kafka.Outgoing) error {
		o.Headers = append(o.Headers, pipeline.Header{Key: "sent"})
		return nil
	}}, notes}
	noError(t, run(t, copying("copy"), cfg), "run")

	records := c.ReadAll("out")
	if len(records) != 100 {
		t.Errorf("%d records", len(records))
	}
	once(t, records, "sent")
	notes.written(t, records)
	var acked, failed int64
	for _, a := range notes.acks.list() {
		if a.err == nil {
			acked++
			continue
		}
		failed++
		if e, ok := errors.AsType[*kafka.DeliveryError](a.err); !ok || e.Topic != "out" || a.Offset != -1 {
			t.Fatalf("outcome %+v", a)
		}
	}
	s, ends := stats.Snapshot(), notes.ends.list()
	if s.Aborts == 0 || acked != 100 || failed == 0 || sends.Load() != 100+s.Aborts*100 {
		t.Errorf("%d aborts, %d acknowledged, %d failed, %d sends", s.Aborts, acked, failed, sends.Load())
	}
	if int64(len(ends)) != s.Aborts+s.Commits || !errors.Is(ends[0], kafka.ErrAborted) || ends[len(ends)-1] != nil {
		t.Errorf("ends of transactions: %v", ends)
	}
}

// A commit is reported only after its records' OnAcknowledgement have returned, and the
// sending does not wait for them meanwhile.
func TestCommitWaitsForAcknowledgements(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			entered, release := make(chan struct{}, 10), make(chan struct{})
			cfg := c.config()
			cfg.Delivery = g
			cfg.Interceptors = []kafka.Interceptor{kafka.InterceptorFuncs{Acknowledgment: func(kafka.Result, error) { entered <- struct{}{}; <-release }}}
			s := kafka.NewSink(cfg)
			ctx := context.Background()
			_, err := s.Open(ctx, pipeline.Spec{Pipeline: "p", Guarantee: g, Outputs: []string{"out"}})
			noError(t, err, "open")
			defer s.Close()
			commit := s.Flush
			if g == pipeline.ExactlyOnce {
				noError(t, s.Init(ctx), "init")
				noError(t, s.Begin(ctx), "begin")
				commit = s.Commit
			}
			noError(t, s.Send(ctx, []pipeline.Output{{Topic: "out", Value: []byte("a")}, {Topic: "out", Value: []byte("b")}}), "send")
			done := make(chan error, 1)
			go func() { done <- commit(ctx) }()
			<-entered
			c.Await("the records", func() bool { return len(c.ReadAll("out")) == 2 }) // it is committed
			select {
			case err := <-done:
				close(release)
				t.Fatalf("it was reported while OnAcknowledgement ran: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			close(release)
			noError(t, <-done, "commit")
			if len(entered) != 1 {
				t.Errorf("%d more acknowledgements, want 1", len(entered))
			}
		})
	}
}

type closings struct {
	kafka.InterceptorFuncs
	n   atomic.Int32
	err error
}

func (c *closings) Close() error {
	if c.n.Add(1) > 1 || c.err == nil {
		return c.err
	}
	panic(c.err)
}

// Interceptors are closed once, however the run ends; what fails in it is logged.
func TestInterceptorsOfAPipelineAreClosedOnce(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	closed := func(name string, change func(*kafka.Config)) {
		x, y, log := &closings{err: errRegion}, &closings{}, &bytes.Buffer{}
		cfg := c.config()
		cfg.Interceptors, cfg.Logger = []kafka.Interceptor{x, y}, slog.New(slog.NewTextHandler(log, nil))
		change(&cfg)
		err := kafka.Run(t.Context(), copying("copy"), cfg)
		if x.n.Load() != 1 || y.n.Load() != 1 || !strings.Contains(log.String(), errRegion.Error()) {
			t.Errorf("%s: closed %d and %d times; the run: %v; log:\n%s", name, x.n.Load(), y.n.Load(), err, log)
		}
	}
	closed("to the end", func(*kafka.Config) {})
	closed("no broker", func(cfg *kafka.Config) { cfg.Brokers = []string{"127.0.0.1:1"} })

	cfg := c.config()
	cfg.Interceptors = []kafka.Interceptor{nil}
	wantError(t, cfg.Validate(), pipeline.ErrInvalid, "number 0 of Interceptors is nil")
}

// A record that the producer does not take has an outcome, too.
func TestInterceptorsLearnOfRefusedOutputs(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1), topic("dlq", 1)}})
	c.Produce(numbered("in", 0, 2)...)
	p := pipeline.New("copy", pipeline.DeadLetter("dlq"))
	by := kafka.PartitionFunc(func(_ string, key, _ []byte, _ int32) (int32, error) {
		if string(key) == "k1" {
			return 0, errRegion
		}
		return 0, nil
	})
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes(), pipeline.PartitionBy(by))
	counter, notes := &kafka.ErrorCounter{}, &outcomes{}
	cfg := c.config()
	cfg.Interceptors = []kafka.Interceptor{counter, notes}
	noError(t, run(t, p, cfg), "run")
	same(t, "dead letters", values(c.ReadAll("dlq")), []string{"v1"})
	var refused int
	for _, a := range notes.acks.list() {
		if errors.Is(a.err, kafka.ErrPartition) && a.Partition == -1 && a.Topic == "out" {
			refused++
		}
	}
	if refused != 1 || counter.Count("out") == 0 || counter.Count("dlq") != 0 {
		t.Errorf("outcomes %+v", notes.acks.list())
	}
	notes.written(t, append(c.ReadAll("out"), c.ReadAll("dlq")...))
}

// Interceptors stand beside the pipeline's own account of outcomes, not in its place.
func TestInterceptorsDoNotHideFailures(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	in := numbered("in", 0, 100)
	c.Produce(in...)
	var refusals atomic.Int32
	c.refuse(kerr.InvalidRecord, func() bool { return refusals.Add(1) <= 2 })
	counter := &kafka.ErrorCounter{}
	cfg := c.config()
	cfg.Delivery, cfg.Interceptors = pipeline.AtLeastOnce, []kafka.Interceptor{counter}
	noError(t, run(t, copying("copy"), cfg), "run")
	same(t, "out", unique(values(c.ReadAll("out"))), values(in))
	if counter.Count("out") == 0 {
		t.Error("no failure was told")
	}
}
