package cluster_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

func noError(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

var part0 = pipeline.Partition{Topic: "t", Partition: 0}

// open starts a cluster with the topic t of one partition, and opens a client.
func open(t *testing.T) (*cluster.Client, *checktest.Client, *kfake.Cluster) {
	t.Helper()
	fake, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "t"}}})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, fake.Close(), "close") })
	c, err := cluster.Open(t.Context(), cluster.Config{Brokers: fake.Brokers(), ClientID: "test"})
	noError(t, err, "open")
	t.Cleanup(func() { noError(t, c.Close(), "close") })
	return c, checktest.Dial(t, fake.Brokers()), fake.Fake()
}

func record(value string) *kgo.Record {
	return &kgo.Record{Topic: "t", Key: []byte("k"), Value: []byte(value)}
}

func TestVisible(t *testing.T) {
	c, w, fake := open(t)
	w.Produce(record("0"), record("1"))
	w.ProduceTransaction(true, record("2"))  // marker at 3
	w.ProduceTransaction(false, record("4")) // marker at 5
	w.ProduceTransaction(false, record("6")) // marker at 7
	w.ProduceTransaction(true, record("8"))  // marker at 9
	for _, tt := range []struct {
		from, to int64
		want     bool
	}{
		{0, 10, true}, {0, 1, true}, {1, 2, true}, {2, 3, true},
		{3, 4, false}, {3, 8, false}, {4, 5, false}, {4, 8, false}, {6, 8, false}, {7, 9, true}, {8, 9, true}, {9, 10, false}, {5, 5, false},
	} {
		got, err := c.Visible(t.Context(), part0, tt.from, tt.to)
		noError(t, err, fmt.Sprintf("visible %d to %d", tt.from, tt.to))
		if got != tt.want {
			t.Errorf("a record in [%d, %d): %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
	noError(t, fake.DeleteRecords("t", 0, 10), "delete records")
	if _, err := c.Visible(t.Context(), part0, 0, 10); err == nil {
		t.Error("a position before the log's start is no error")
	}
}

func TestOffsets(t *testing.T) {
	c, w, fake := open(t)
	at := func(want int64, when int64) {
		t.Helper()
		got, err := c.Offsets(t.Context(), []string{"t"}, when)
		noError(t, err, "offsets")
		if got[part0] != want || len(got) != 1 {
			t.Errorf("offsets at %d: %v, want %d", when, got, want)
		}
	}
	at(0, cluster.Earliest)
	at(0, cluster.Latest)
	at(0, 1000)
	old, recent := record("old"), record("recent")
	old.Timestamp, recent.Timestamp = time.UnixMilli(1000), time.UnixMilli(2000)
	w.Produce(old, recent)
	at(2, cluster.Latest)
	at(0, 1000)
	at(1, 1001)
	at(2, 2001) // later than all: the end
	w.ProduceTransaction(true, record("in a transaction"))
	at(4, cluster.Latest) // behind the marker
	noError(t, fake.DeleteRecords("t", 0, 1), "delete records")
	at(1, cluster.Earliest)
	if _, err := c.Offsets(t.Context(), []string{"t", "absent", "absent2"}, cluster.Latest); !errors.Is(err, pipeline.ErrMissingTopic) || !strings.Contains(err.Error(), "absent, absent2") {
		t.Errorf("offsets of missing topics: %v", err)
	}
}

func TestCommittedAndCommit(t *testing.T) {
	c, _, _ := open(t)
	parts := []pipeline.Partition{part0}
	got, err := c.Committed(t.Context(), "g", parts)
	noError(t, err, "committed positions of a group that does not exist")
	if len(got) != 0 {
		t.Errorf("a new group has committed %v", got)
	}
	none := pipeline.GroupMetadata{Group: "g", Generation: -1}
	noError(t, c.Commit(t.Context(), none, []pipeline.Offset{{Partition: part0, Next: 7}}), "commit")
	got, err = c.Committed(t.Context(), "g", parts)
	noError(t, err, "committed")
	if got[part0] != 7 {
		t.Errorf("committed %v, want 7", got)
	}
	stranger := pipeline.GroupMetadata{Group: "g", Member: "nobody", Generation: 3}
	began := time.Now()
	if err := c.Commit(t.Context(), stranger, []pipeline.Offset{{Partition: part0, Next: 9}}); !cluster.Rebalanced(err) {
		t.Errorf("a stranger's commit: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a definite refusal was tried again for %v", took)
	}
}

// What passes is asked again.
func TestAPassingErrorIsAskedAgain(t *testing.T) {
	c, w, fake := open(t)
	w.Produce(record("a"))
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Count: 2})
	off, err := c.Offset(t.Context(), part0, cluster.Latest)
	noError(t, err, "offset")
	if off != 1 {
		t.Errorf("the end is %d, want 1", off)
	}
	fake.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.OffsetFetch}, Err: kerr.CoordinatorLoadInProgress, Count: 2})
	_, err = c.Committed(t.Context(), "g", []pipeline.Partition{part0})
	noError(t, err, "committed")
}

// A broker that never answers costs no more than the context allows.
func TestOpenHeedsItsContext(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err, "listen")
	t.Cleanup(func() { _ = mute.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = cluster.Open(ctx, cluster.Config{Brokers: []string{mute.Addr().String()}})
	if !errors.Is(err, cluster.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open: %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("Open took %v", took)
	}
}

func TestMistakes(t *testing.T) {
	for _, tt := range []struct {
		cfg  cluster.Config
		want int
	}{
		{cluster.Config{}, 1},
		{cluster.Config{Brokers: []string{"a:1", "b", "c:"}}, 2},
		{cluster.Config{Brokers: []string{"a:1"}, SASL: cluster.SASL{Mechanism: "KERBEROS"}}, 1},
		{cluster.Config{Brokers: []string{"a:1"}, SASL: cluster.SASL{Mechanism: "OAUTHBEARER", AllowWithoutTLS: true}}, 1},
		{cluster.Config{Brokers: []string{"a:1"}, SASL: cluster.SASL{Mechanism: "SCRAM-SHA-512", User: "u"}}, 1},
		{cluster.Config{Brokers: []string{"a:1"}, SASL: cluster.SASL{Mechanism: "PLAIN", User: "u", Password: secure.SecretOf("p")}, TLS: &tls.Config{MinVersion: tls.VersionTLS12}}, 0},
	} {
		if got := tt.cfg.Mistakes(); len(got) != tt.want {
			t.Errorf("%+v: mistakes %v, want %d", tt.cfg.Brokers, got, tt.want)
		}
		if tt.want == 0 {
			noError(t, tt.cfg.Sarama().Validate(), "sarama's own validation")
		}
	}
}
