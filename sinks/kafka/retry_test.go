package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// retrying is a pipeline from prefix+in to prefix+out, whose records say how often they fail.
func retrying(prefix string, delays ...time.Duration) *pipeline.Pipeline {
	p := pipeline.New("retrying", pipeline.DeadLetter(prefix+"dlq"), pipeline.OnError(pipeline.RetryLater))
	in := pipeline.From(p, prefix+"in", serde.String(), pipeline.RetryTopics(delays...))
	pipeline.To(stages.CheckCtx(in, "check", func(ctx context.Context, v string) error {
		often, err := strconv.Atoi(v)
		if retry, _ := pipeline.RetryOf(ctx); err == nil && retry.Attempt < often {
			return errors.New("not yet")
		}
		return nil
	}), prefix+"out", serde.String())
	return p
}

// feedRetrying writes n records, with their number as the key, which fail 0, 1, 2 and 3 times.
func (c *cluster) feedRetrying(topic string, n int) {
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: topic, Key: []byte(strconv.Itoa(i)), Value: []byte(strconv.Itoa(i % 4)), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("1")}}}
	}
	c.Produce(records...)
}

// checkRetried checks that each of n records has ended once, where it should.
func (c *cluster) checkRetried(prefix string, n int) {
	c.t.Helper()
	var out, dead []string
	for i := range n {
		if i%4 < 3 {
			out = append(out, strconv.Itoa(i))
		} else {
			dead = append(dead, strconv.Itoa(i))
		}
	}
	outputs, letters := c.ReadAll(prefix+"out"), c.ReadAll(prefix+"dlq")
	same(c.t, "outputs", sortedOnce(c.t, outputs), slices.Sorted(slices.Values(out)))
	same(c.t, "dead letters", sortedOnce(c.t, letters), slices.Sorted(slices.Values(dead)))
	for _, r := range outputs {
		if len(r.Headers) != 1 || r.Headers[0].Key != "h" {
			c.t.Fatalf("an output has the headers %v", r.Headers)
		}
	}
	for _, r := range letters {
		headers := map[string]string{}
		for _, h := range r.Headers {
			headers[h.Key] = string(h.Value)
		}
		if headers[pipeline.HeaderTopic] != prefix+"in" || headers[pipeline.HeaderRetryAttempt] != "2" || headers["h"] != "1" {
			c.t.Fatalf("a dead letter has the headers %v", headers)
		}
	}
}

func sortedOnce(t testing.TB, records []*kgo.Record) []string {
	t.Helper()
	all := keys(records)
	slices.Sort(all)
	if once := slices.Compact(slices.Clone(all)); len(once) != len(all) {
		t.Errorf("%d records, and %d of them doubled", len(all), len(all)-len(once))
	}
	return all
}

func retryTopics(prefix string, partitions int, delays ...string) (all []embedded.Topic) {
	for _, name := range []string{"in", "out", "dlq"} {
		all = append(all, topic(prefix+name, partitions))
	}
	for i, d := range delays {
		all = append(all, topic(fmt.Sprintf("%sin.retry.%s", prefix, d), i+1))
	}
	return all
}

// UntilEnd waits for what is retried later, from tier to tier; retry topics have other numbers of
// partitions than the input.
func TestRetryLaterUntilTheEnd(t *testing.T) {
	t.Parallel()
	for _, g := range bothGuarantees {
		t.Run(g.String(), func(t *testing.T) {
			t.Parallel()
			c := start(t, embedded.Config{Topics: retryTopics("", 3, "300ms", "400ms")})
			c.feedRetrying("in", 400)
			cfg := c.config()
			var stats pipeline.Stats
			cfg.Delivery, cfg.Stats = g, &stats
			noError(t, run(t, retrying("", 300*time.Millisecond, 400*time.Millisecond), cfg), "run")
			c.checkRetried("", 400)
			if s := stats.Snapshot(); s.RetriedLater != 500 || s.DeadLetters != 100 || !maps.Equal(s.RetriedLaterByStage, map[string]int64{"check": 500}) {
				t.Errorf("the counters are %d, %v, %d", s.RetriedLater, s.RetriedLaterByStage, s.DeadLetters)
			}
		})
	}
}

// What a transaction that is not decided yet has written to a retry topic is waited for: a
// commit may be known of the positions before it is known of the topic.
func TestUntilEndWaitsForWhatIsOpen(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: retryTopics("", 1, "300ms")})
	k, err := kgo.NewClient(kgo.SeedBrokers(c.fake.Brokers()...), kgo.TransactionalID("another"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	noError(t, err, "client")
	defer k.Close()
	noError(t, k.BeginTransaction(), "begin")
	noError(t, k.ProduceSync(t.Context(), &kgo.Record{Topic: "in.retry.300ms", Key: []byte("k"), Value: []byte("0")}).FirstErr(), "produce")
	c.feedRetrying("in", 1)
	r := launch(t, retrying("", 300*time.Millisecond), c.config())
	c.Await("the record of the input", func() bool { return len(c.ReadAll("out")) == 1 })
	select {
	case <-r.done:
		t.Fatal("it ended before the transaction")
	case <-time.After(500 * time.Millisecond): // some polls of the end
	}
	noError(t, k.EndTransaction(t.Context(), kgo.TryCommit), "commit")
	noError(t, r.wait(), "run")
	if n := len(c.ReadAll("out")); n != 2 {
		t.Errorf("%d outputs, want 2", n)
	}
}

// Without a retry topic the pipeline does not start.
func TestMissingRetryTopic(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: retryTopics("", 1, "300ms")})
	wantError(t, run(t, retrying("", 300*time.Millisecond, time.Minute), c.config()), pipeline.ErrMissingTopic, "in.retry.1m")
}

// Workers come and go while records wait.
func exerciseRetries(t *testing.T, c *cluster, cfg kafka.Config, prefix string, n int, delays ...time.Duration) {
	t.Helper()
	cfg.UntilEnd = false
	b := launch(t, retrying(prefix, delays...), cfg)
	c.feedRetrying(prefix+"in", n)
	first := fmt.Sprintf("%sin.retry.%v", prefix, delays[0])
	c.Await("the first records to be retried", func() bool { return len(c.ReadAll(first)) >= n/4 })
	cfg.UntilEnd = true
	a := launch(t, retrying(prefix, delays...), cfg)
	c.Await("the second worker to work", func() bool { return len(c.ReadAll(prefix+"dlq")) > 0 })
	began := time.Now()
	b.stop()
	t.Logf("the stop during a wait took %v", time.Since(began))
	noError(t, a.wait(), "run")
	c.checkRetried(prefix, n)
}

func TestRetryLaterWhileWorkersComeAndGo(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: retryTopics("", 4, "1s", "2s")})
	exerciseRetries(t, c, c.config(), "", 2_000, time.Second, 2*time.Second)
}
