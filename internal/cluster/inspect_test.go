package cluster_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/wire"
)

func TestSettings(t *testing.T) {
	c, _, fake := open(t)
	noError(t, fake.CreateTopic("u", 1, map[string]string{"max.message.bytes": "7"}), "create u")
	got, err := c.TopicSettings(t.Context(), []string{"t", "u", "none"})
	noError(t, err, "topics' settings")
	if got["t"].Values["compression.type"] != "producer" || got["u"].Values["max.message.bytes"] != "7" {
		t.Errorf("settings %v", got)
	}
	if !errors.Is(got["none"].Err, sarama.ErrUnknownTopicOrPartition) {
		t.Errorf("a topic that does not exist: %v", got["none"].Err)
	}
	for id, addr := range c.Nodes() {
		s, err := c.BrokerSettings(t.Context(), id, addr)
		if err != nil || s.Values["transaction.max.timeout.ms"] != "900000" {
			t.Errorf("broker's settings %v, %v", s, err)
		}
	}
}

// Whoever coordinates is found among several, whichever it is, and one that has gone is
// not taken for "nobody".
func TestWhoeverCoordinates(t *testing.T) {
	fake, err := embedded.Start(embedded.Config{Brokers: 3, Topics: []embedded.Topic{{Name: "t"}}})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, fake.Close(), "close") })
	c, err := cluster.Open(t.Context(), cluster.Config{Brokers: fake.Brokers(), ClientID: "test"})
	noError(t, err, "open")
	t.Cleanup(func() { noError(t, c.Close(), "close") })
	w := checktest.Dial(t, fake.Brokers())
	at := map[int32]bool{}
	for i := range 20 {
		group := fmt.Sprintf("g%d", i)
		at[fake.Fake().CoordinatorFor(group)] = true
		w.JoinAndDie(group, "a", "t", 0)
		g, err := c.DescribeGroup(t.Context(), group)
		if err != nil || g == nil || len(g.Members) != 1 {
			t.Errorf("group %s: %+v, %v", group, g, err)
		}
	}
	if len(at) != 3 {
		t.Fatalf("coordinators are %v only", at)
	}
	var asked atomic.Int32
	fake.Fake().ControlKey(int16(kmsg.DescribeGroups), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.Fake().KeepControl()
		if asked.Add(1) == 2 {
			return nil, errors.New("hang up"), true
		}
		resp := r.ResponseKind().(*kmsg.DescribeGroupsResponse)
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.ErrorCode = int16(sarama.ErrNotCoordinatorForConsumer)
		resp.Groups = append(resp.Groups, g)
		return resp, nil, true
	})
	if g, err := c.DescribeGroup(t.Context(), "g"); err == nil || g != nil {
		t.Errorf("one of three hung up, the others do not coordinate: %v, %v", g, err)
	}
	if g, err := c.DescribeGroup(t.Context(), "g"); err != nil || g != nil {
		t.Errorf("nobody coordinates: %v, %v", g, err)
	}
}

// A broker that does not know a question is asked others on the same client.
func TestAnOlderBrokerIsAskedOn(t *testing.T) {
	fake, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "t"}}, Options: []kfake.Opt{kfake.MaxVersions(kversion.V2_5_0())},
	})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, fake.Close(), "close") })
	c, err := cluster.Open(t.Context(), cluster.Config{Brokers: fake.Brokers(), ClientID: "test"})
	noError(t, err, "open")
	t.Cleanup(func() { noError(t, c.Close(), "close") })
	for range 2 {
		if _, err := c.DescribeTransaction(t.Context(), "id"); !errors.Is(err, sarama.ErrUnsupportedVersion) {
			t.Errorf("transactions came with Kafka 3.0: %v", err)
		}
		if _, err := c.DescribeGroup(t.Context(), "g"); err != nil {
			t.Errorf("groups did not: %v", err)
		}
	}
	can, err := cluster.AbilitiesOf(t.Context(), cluster.Config{Brokers: fake.Brokers()}, fake.Brokers()[0])
	if err != nil || can.Requests[0] != 8 || can.Transactions != (wire.Feature{}) {
		t.Errorf("it can %v, %v", can, err)
	}
}

func TestTail(t *testing.T) {
	c, w, _ := open(t)
	tail := func(n int64) (out []string) {
		t.Helper()
		noError(t, c.Tail(t.Context(), part0, n, func(key []byte) { out = append(out, string(key)) }), "tail")
		return out
	}
	if got := tail(10); len(got) != 0 {
		t.Errorf("an empty partition has keys %v", got)
	}
	for i := range 5 {
		w.Produce(&kgo.Record{Topic: "t", Key: fmt.Append(nil, i), Value: []byte("v")})
	}
	w.Produce(&kgo.Record{Topic: "t", Value: []byte("no key")}, &kgo.Record{Topic: "t", Key: []byte{}, Value: []byte("empty key")})
	w.ProduceTransaction(false, &kgo.Record{Topic: "t", Key: []byte("aborted")})
	if got, want := tail(100), []string{"0", "1", "2", "3", "4", ""}; !slices.Equal(got, want) {
		t.Errorf("keys %q, want %q", got, want)
	}
	if got, want := tail(5), []string{"4", ""}; !slices.Equal(got, want) {
		t.Errorf("keys of the last five offsets %q, want %q", got, want)
	}
}
