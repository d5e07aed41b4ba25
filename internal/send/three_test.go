//go:build three && unix

package send

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/checktest"
)

// threeConfig is patient enough for an election: a broker that was killed is
// missed after 9 s.
func threeConfig(brokers []string) Config {
	cfg := testConfig(brokers)
	cfg.RequestTimeout, cfg.DeliveryTimeout, cfg.MaxBlock = 5*time.Second, 2*time.Minute, 2*time.Minute
	cfg.RetryBackoff, cfg.RetryBackoffMax = 20*time.Millisecond, 300*time.Millisecond
	return cfg
}

// rounds of disturbing the same thing.
const disturbances = 3

// Whoever leads a partition is killed, again and again: nothing that was
// acknowledged is lost, and each partition keeps its order.
func TestLeaderIsKilled(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := checktest.Dial(t, three.Addresses())
	topic := freshName("send-leader")
	c.CreateTopic(topic, 3, nil)
	d := newLoad(t, threeConfig(three.Addresses()), nil, newLedger(topic, 3), 1)
	found := d.run(c, d.flood, func() {
		awaitMore(t, d.l, 500)
		for range disturbances {
			three.Kill(c.Partitions(topic)[0].Leader)
			awaitMore(t, d.l, 500)
			three.Mend()
			c.AwaitInSync(topic, checktest.NumBrokers)
		}
	})
	if found.failed > 0 {
		t.Errorf("%d records failed: %v", found.failed, d.l.failures()[0])
	}
	if st := d.p.Stats(); st.Retries == 0 || st.Disconnects < disturbances {
		t.Errorf("nothing was disturbed: %+v", st)
	}
}

// awaitMore waits until every partition has n more acknowledged records.
func awaitMore(t *testing.T, l *ledger, n int) {
	t.Helper()
	before := l.acknowledged()
	checktest.Await(t, fmt.Sprintf("%d more records in each partition", n), time.Minute, func() bool {
		for part, now := range l.acknowledged() {
			if now < before[part]+n {
				return false
			}
		}
		return true
	})
}

// The broker that coordinates the transactions is killed, again and again; it
// leads partitions, too, and may coordinate the group.
func TestTransactionCoordinatorIsKilled(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := checktest.Dial(t, three.Addresses())
	topic := freshName("send-coordinator")
	c.CreateTopic(topic, 3, nil)
	cfg := threeConfig(three.Addresses())
	cfg.TransactionalID, cfg.TransactionTimeout = topic, 40*time.Second
	d := newLoad(t, cfg, nil, newLedger(topic, 3), 1)
	d.group = topic
	found := d.run(c, d.transact, func() {
		awaitCommits(t, d.l, 20)
		for range disturbances {
			three.Kill(c.Coordinator(cfg.TransactionalID))
			awaitCommits(t, d.l, 20)
			three.Mend()
			c.AwaitInSync(topic, checktest.NumBrokers)
		}
	})
	if got := c.Committed(d.group, topic)[0]; got != int64(found.last) {
		t.Errorf("the group's position is that of transaction %d, the last visible one is %d", got, found.last)
	}
}

func awaitCommits(t *testing.T, l *ledger, n int) {
	t.Helper()
	before := l.count(committed)
	checktest.Await(t, fmt.Sprintf("%d more commits", n), 2*time.Minute, func() bool { return l.count(committed) >= before+n })
}

// Two of three brokers are gone: what is sent waits, and is written when they are
// back. A producer with less patience fails, and says what it met.
func TestTwoOfThreeAreGone(t *testing.T) {
	for how, disturb := range map[string]func(*checktest.Brokers, ...int32){
		"killed": (*checktest.Brokers).Kill, "stopped": (*checktest.Brokers).Stop,
	} {
		t.Run(how, func(t *testing.T) {
			three := checktest.OwnBrokers(t)
			c := checktest.Dial(t, three.Addresses())
			cfg := threeConfig(three.Addresses())
			patient := newLoad(t, cfg, nil, newTopic(c, nil), 1)
			hasty := newLoad(t, impatient(cfg), nil, newTopic(c, nil), 2)
			for _, d := range []*load{patient, hasty} { // both are connected to all three
				d.burst(20)
				d.flush()
			}
			survivor := c.Partitions(patient.l.topic)[0].Leader
			written := patient.l.acknowledged()

			disturb(three, slices.DeleteFunc([]int32{1, 2, 3}, func(n int32) bool { return n == survivor })...)
			patient.burst(100)
			hasty.burst(20)
			hasty.flush()
			if got := patient.l.acknowledged(); !slices.Equal(got, written) {
				t.Errorf("acknowledged by one of three: %v, before %v", got, written)
			}
			hasty.allFailed(60, sarama.ErrRequestTimedOut)
			three.Mend()
			patient.flush()
			patient.allExact(c)
			if err := hasty.p.Close(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if found := hasty.l.check(c); found.wrong() { // what failed may be there, once
				t.Error(found)
			}
		})
	}
}

// A leader with fewer replicas in sync than the topic wants says so. The producer
// waits until there are enough, or until its patience ends.
func TestNotEnoughReplicas(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := checktest.Dial(t, three.Addresses())
	cfg := threeConfig(three.Addresses())
	all := map[string]string{"min.insync.replicas": "3"}
	patient := newLoad(t, cfg, nil, newTopic(c, all), 1)
	hasty := newLoad(t, impatient(cfg), nil, newTopic(c, all), 2)
	three.Kill(3)
	for _, d := range []*load{patient, hasty} {
		c.AwaitInSync(d.l.topic, 2)
	}
	patient.burst(100)
	hasty.burst(20)
	hasty.flush()
	hasty.allFailed(60, sarama.ErrNotEnoughReplicas)
	if got := patient.l.acknowledged(); !slices.Equal(got, []int{0, 0, 0}) {
		t.Errorf("acknowledged by two of three: %v", got)
	}
	three.Mend()
	patient.flush()
	patient.allExact(c)
	if err := hasty.p.Close(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if found := hasty.l.check(c); found.wrong() || found.read > 0 {
		t.Errorf("of what was refused: %v", found)
	}
}

// newTopic makes a topic of three partitions, with a leader on each broker.
func newTopic(c *checktest.Client, settings map[string]string) *ledger {
	l := newLedger(freshName("send-replicas"), 3)
	c.CreateTopic(l.topic, 3, settings)
	return l
}

func impatient(cfg Config) Config {
	cfg.RequestTimeout, cfg.DeliveryTimeout = 2*time.Second, 3*time.Second
	return cfg
}

// allFailed wants every record to have failed at its delivery time-out, with what
// the last attempt met, and one of them with cause.
func (d *load) allFailed(n int, cause error) {
	d.t.Helper()
	failures := d.l.failures()
	if len(failures) != n {
		d.t.Errorf("%d of %d records failed", len(failures), n)
	}
	some := false
	for _, err := range failures {
		var both interface{ Unwrap() []error }
		if !errors.Is(err, ErrDeliveryTimeout) || !errors.As(err, &both) {
			d.t.Fatalf("a record failed with: %v", err)
		}
		some = some || errors.Is(err, cause)
	}
	if !some {
		d.t.Errorf("none failed with %v, but with %v", cause, failures)
	}
}

// allExact wants every record to be acknowledged and there.
func (d *load) allExact(c *checktest.Client) {
	d.t.Helper()
	found := d.l.check(c)
	d.t.Logf("%v; %+v", found, d.p.Stats())
	if found.wrong() || found.failed > 0 {
		d.t.Error(found)
	}
}
