package pipeline_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// retrying is a pipeline from topic in to topic out with two retry topics, whose stage calls f.
func retrying(f func(ctx context.Context, v string) error, opts ...pipeline.Option) *pipeline.Pipeline {
	return retryingAfter([]time.Duration{time.Minute, 10 * time.Minute}, calls(f), opts...)
}

func retryingAfter(delays []time.Duration, stage func(stream) stream, opts ...pipeline.Option) *pipeline.Pipeline {
	opts = append([]pipeline.Option{pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater)}, opts...)
	p := pipeline.New("test", opts...)
	pipeline.To(stage(pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(delays...))), "out", serde.String())
	return p
}

func taskOf(t testing.TB, p *pipeline.Pipeline, topic string, cfg pipeline.TaskConfig) *pipeline.Task {
	t.Helper()
	task, err := p.Compile(pipeline.Partition{Topic: topic, Partition: 3}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return task
}

// only processes a record and returns its only output.
func only(t *testing.T, task *pipeline.Task, r *pipeline.Raw) pipeline.Output {
	t.Helper()
	if err := task.Process(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(task.Outputs()) != 1 {
		t.Fatalf("%d outputs, want 1", len(task.Outputs()))
	}
	o := task.Outputs()[0]
	task.Clear()
	return o
}

// landed is an output as the input record that it becomes.
func landed(o pipeline.Output, offset int64) *pipeline.Raw {
	return &pipeline.Raw{
		Key: o.Key, Value: o.Value, Headers: o.Headers, Timestamp: o.Timestamp,
		Origin: pipeline.Origin{Topic: o.Topic, Partition: 7, Offset: offset},
	}
}

// A record that fails goes from tier to tier and then to the dead letters: key, value,
// timestamp and the headers that it had, ours among them, are exact, and it is its first
// place that is named. What the chain put out before it failed is dropped.
func TestRetryLaterGoesFromTierToTier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := retrying(func(context.Context, string) error { return errOops })
		r := rawRecord("v")
		r.Headers = pipeline.Headers{header("a", "1"), header("leat.topic", "old"), header("leat.retry.attempt", "9"), header("a", "2")}
		first := taskOf(t, p, "in", pipeline.TaskConfig{})
		o := only(t, first, r)
		now := time.Now().UnixMilli()
		check := func(o pipeline.Output, topic string, from *pipeline.Raw, attempt string, delay time.Duration) {
			t.Helper()
			if o.Topic != topic || string(o.Key) != "key" || string(o.Value) != "v" || !o.Timestamp.Equal(when) || o.Origin != from.Origin || o.Partitioner != nil {
				t.Errorf("got %+v, want the record in %s", o, topic)
			}
			want := []string{
				"a=1", "leat.topic=old", "leat.retry.attempt=9", "a=2",
				"leat.pipeline=test", "leat.stage=calls", "leat.error=oops",
				"leat.topic=in", "leat.partition=3", "leat.offset=42", "leat.timestamp=1700000000123",
				"leat.retry.attempt=" + attempt,
			}
			if delay > 0 {
				want = append(want, "leat.retry.due="+strconv.FormatInt(now+delay.Milliseconds(), 10))
			} else {
				want = slices.Delete(want, 1, 3) // as those of any dead letter
			}
			if got := headerTexts(o.Headers); !slices.Equal(got, want) {
				t.Errorf("%s has the headers\n%q, want\n%q", topic, got, want)
			}
		}
		check(o, "in.retry.1m", r, "1", time.Minute)
		second := landed(o, 5)
		second.Timestamp = when.Add(time.Hour) // a topic whose timestamps are those of the append
		o = only(t, taskOf(t, p, "in.retry.1m", pipeline.TaskConfig{}), second)
		check(o, "in.retry.10m", second, "2", 10*time.Minute)
		third := landed(o, 6)
		check(only(t, taskOf(t, p, "in.retry.10m", pipeline.TaskConfig{}), third), "dlq", third, "2", 0)
		if len(r.Headers) != 4 {
			t.Error("the input's headers were changed")
		}
	})
}

// A stage, and a middleware, sees the record as it was, but where it stands, and may ask
// for the rest.
func TestRetriedRecordIsAsItWas(t *testing.T) {
	type seen struct {
		r       pipeline.Raw
		retry   pipeline.Retried
		retried bool
	}
	var stage, around seen
	fail := true
	look := func(ctx context.Context, r *pipeline.Raw) seen {
		retry, ok := pipeline.RetryOf(ctx)
		return seen{*r, retry, ok}
	}
	p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.Use(func(next pipeline.Handler) pipeline.Handler {
		return func(ctx context.Context, r *pipeline.Raw) error {
			around = look(ctx, r)
			return next(ctx, r)
		}
	}))
	in := pipeline.From(p, "in", serde.Bytes(), pipeline.RetryTopic("again", time.Hour), pipeline.RetryTopics(2*time.Hour))
	pipeline.To(stages.MapRecord(in, "look", func(ctx context.Context, r *pipeline.Raw) (pipeline.Raw, error) {
		stage = look(ctx, r)
		if fail {
			return *r, errOops
		}
		return *r, nil
	}, pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{Initial: 1}, pipeline.RetryLater))), "out", serde.Bytes())
	r := rawRecord("v")
	o := only(t, taskOf(t, p, "in", pipeline.TaskConfig{}), r)
	if stage.retried || around.retried {
		t.Error("the first try is no retry")
	}
	for i, topic := range []string{"again", "in.retry.2h"} {
		if o.Topic != topic {
			t.Fatalf("it went to %q, want %q", o.Topic, topic)
		}
		fail = i == 0
		back := landed(o, int64(i))
		o = only(t, taskOf(t, p, topic, pipeline.TaskConfig{}), back)
		for name, s := range map[string]seen{"the stage": stage, "the middleware": around} {
			if string(s.r.Key) != "key" || string(s.r.Value) != "v" || !s.r.Timestamp.Equal(when) || !slices.Equal(headerTexts(s.r.Headers), []string{"h=1"}) {
				t.Errorf("%s saw %+v", name, s.r)
			}
			if s.r.Origin != back.Origin {
				t.Errorf("%s saw the place %v, want %v", name, s.r.Origin, back.Origin)
			}
			if want := (pipeline.Retried{Attempt: i + 1, First: r.Origin}); !s.retried || s.retry != want {
				t.Errorf("%s was told %+v, want %+v", name, s.retry, want)
			}
		}
	}
	if o.Topic != "out" || !slices.Equal(headerTexts(o.Headers), []string{"h=1"}) || o.Origin.Topic != "in.retry.2h" {
		t.Errorf("the output is %+v", o)
	}
}

// What others write to a retry topic is taken as it is, and headers that make no sense are
// those of others.
func TestForeignRecordsInARetryTopic(t *testing.T) {
	p := retrying(func(context.Context, string) error { return errOops })
	task := taskOf(t, p, "in.retry.1m", pipeline.TaskConfig{})
	at := pipeline.Origin{Topic: "in.retry.1m", Partition: 7, Offset: 8}
	for name, headers := range map[string]pipeline.Headers{
		"none":     nil,
		"nonsense": {header("leat.topic", ""), header("leat.partition", "x"), header("leat.offset", "-"), header("leat.retry.attempt", "-3"), header("leat.retry.due", "soon")},
		"too many": {header("leat.topic", "t"), header("leat.partition", "99999999999"), header("leat.offset", "1"), header("leat.timestamp", "?")},
	} {
		r := rawRecord("v")
		r.Headers, r.Origin = headers, at
		if d := task.DueIn(r, time.Now()); d != 0 {
			t.Errorf("%s: it is due in %v", name, d)
		}
		o := only(t, task, r)
		topic, _ := o.Headers.Get("leat.topic")
		offset, _ := o.Headers.Get("leat.offset")
		attempt, _ := o.Headers.Get("leat.retry.attempt")
		if o.Topic != "in.retry.10m" || string(topic) != at.Topic || string(offset) != "8" || string(attempt) != "2" || !o.Timestamp.Equal(when) {
			t.Errorf("%s: got %+v", name, o)
		}
	}
}

func TestDueIn(t *testing.T) {
	p := retrying(func(context.Context, string) error { return nil })
	task, first := taskOf(t, p, "in.retry.1m", pipeline.TaskConfig{}), taskOf(t, p, "in", pipeline.TaskConfig{})
	now := time.Now()
	for _, c := range []struct {
		due  int64
		want time.Duration
	}{
		{now.UnixMilli() - 1, 0},
		{now.Add(-time.Hour).UnixMilli(), 0},
		{now.Add(30 * time.Second).UnixMilli(), 30 * time.Second},
		{now.Add(time.Hour).UnixMilli(), time.Minute}, // whose clock was wrong, or when the delay was another
		{math.MaxInt64, time.Minute},
		{math.MinInt64, 0},
	} {
		r := rawRecord("v")
		r.Headers = pipeline.Headers{header("leat.retry.due", strconv.FormatInt(c.due, 10))}
		if d := task.DueIn(r, now); d > c.want || d < c.want-time.Millisecond {
			t.Errorf("due at %d: %v, want %v", c.due, d, c.want)
		}
		if d := first.DueIn(r, now); d != 0 {
			t.Errorf("the input's own records wait for %v", d)
		}
	}
}

func TestRetryTooLarge(t *testing.T) {
	p := retrying(bad)
	for topic, want := range map[string]error{"in": pipeline.ErrRetryTooLarge, "in.retry.1m": pipeline.ErrRetryTooLarge, "in.retry.10m": pipeline.ErrDeadLetterTooLarge} {
		task := taskOf(t, p, topic, pipeline.TaskConfig{MaxRecordSize: 300})
		err := task.Process(t.Context(), rawRecord("bad"))
		expectStage(t, err, "calls", want)
		if !errors.Is(err, errOops) || !strings.Contains(err.Error(), `oops`) {
			t.Errorf("the error does not give the reason: %v", err)
		}
	}
}

// Interceptors see what goes to a retry topic, and must leave it there.
func TestInterceptorsSeeWhatIsRetriedLater(t *testing.T) {
	p := retrying(bad)
	var to string
	task := taskOf(t, p, "in", pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) {
		to = o.Topic
		o.Headers = o.Headers.Add("seen", nil)
	}})
	o := only(t, task, rawRecord("bad"))
	if _, ok := o.Headers.Get("seen"); !ok || to != "in.retry.1m" {
		t.Errorf("it saw topic %q and left %q", to, headerTexts(o.Headers))
	}
	task = taskOf(t, p, "in", pipeline.TaskConfig{Intercept: func(o *pipeline.Outgoing) { o.Topic = "out" }})
	expectStage(t, task.Process(t.Context(), rawRecord("bad")), "calls", pipeline.ErrUnknownTopic)
}

// Held records know their first place, too, also when the chain has gone on.
func TestHeldRecordIsRetriedLater(t *testing.T) {
	var sc *pipeline.StageContext
	var held []*pipeline.Held
	p := retryingAfter([]time.Duration{time.Minute, time.Hour}, func(s stream) stream {
		return pipeline.Apply(s, "hold", "hold", func(c *pipeline.StageContext, _ pipeline.Next[string]) pipeline.Next[string] {
			sc, held = c, nil
			return func(context.Context, *pipeline.Record[string]) error {
				held = append(held, sc.Hold())
				return nil
			}
		})
	})
	task := taskOf(t, p, "in.retry.1m", pipeline.TaskConfig{})
	for i := range int64(2) {
		r := rawRecord("v")
		r.Headers = append(r.Headers, header("leat.topic", "in"), header("leat.partition", "1"), header("leat.offset", strconv.FormatInt(10+i, 10)), header("leat.retry.attempt", "1"))
		r.Origin = pipeline.Origin{Topic: "in.retry.1m", Offset: i}
		if err := task.Process(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := sc.ResumeAll(t.Context(), held, func(context.Context) error { return sc.Fail(errOops) }); err != nil {
		t.Fatal(err)
	}
	if err := task.BeforeCommit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, o := range task.Outputs() {
		offset, _ := o.Headers.Get("leat.offset")
		if o.Topic != "in.retry.1h" || string(offset) != strconv.Itoa(10+i) || o.Origin.Offset != int64(i) {
			t.Errorf("output %d is %+v", i, o)
		}
	}
	if len(task.Outputs()) != 2 {
		t.Errorf("%d outputs, want 2", len(task.Outputs()))
	}
}

func TestTopicsOfRetries(t *testing.T) {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.String(), pipeline.RetryTopics(500*time.Millisecond, 90*time.Second, 2*time.Hour), pipeline.RetryTopic("last", 26*time.Hour+time.Minute))
	again := pipeline.Through(in, "mid", serde.String(), pipeline.RetryTopics(time.Minute))
	pipeline.To(again, "out", serde.String())
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	retries := []string{"in.retry.1m30s", "in.retry.2h", "in.retry.500ms", "last", "mid.retry.1m"}
	if got, want := p.Inputs(), slices.Sorted(slices.Values(append([]string{"in", "mid"}, retries...))); !slices.Equal(got, want) {
		t.Errorf("inputs %q, want %q", got, want)
	}
	if got, want := p.Outputs(), slices.Sorted(slices.Values(append([]string{"dlq", "mid", "out"}, retries...))); !slices.Equal(got, want) {
		t.Errorf("outputs %q, want %q", got, want)
	}
	tiers := p.Topology().Nodes[0].RetryTopics
	if len(tiers) != 4 || tiers[0] != (pipeline.RetryTier{Topic: "in.retry.500ms", Delay: 500 * time.Millisecond}) || tiers[3].Topic != "last" {
		t.Errorf("the topology has %v", tiers)
	}
	v, err := p.Decode(t.Context(), &pipeline.Raw{Value: []byte("v"), Origin: pipeline.Origin{Topic: "in.retry.2h"}})
	if err != nil || v != "v" {
		t.Errorf("decoded %v, %v", v, err)
	}
}

// The path of records that do not fail allocates what it did, with retry topics and without.
func TestRetryTopicsCostNothing(t *testing.T) {
	for _, topic := range []string{"in"} {
		p := pipeline.New("test", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
		pipeline.To(pipeline.From(p, topic, serde.Bytes(), pipeline.RetryTopics(time.Minute)), "out", serde.Bytes())
		task := taskOf(t, p, topic, pipeline.TaskConfig{})
		r := rawRecord("v")
		if n := testing.AllocsPerRun(100, func() {
			if err := task.Process(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			task.Clear()
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
