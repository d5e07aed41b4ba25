package send

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/embedded"
)

// Kafka 2.5 is the oldest that is supported: requests are lowered to what it knows.
func TestOldBroker(t *testing.T) {
	c, err := embedded.Start(embedded.Config{
		Topics: []embedded.Topic{{Name: "out", Partitions: 3}}, Options: []kfake.Opt{kfake.MaxVersions(kversion.V2_5_0())},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID = "tx"
	p := connect(t, cfg, &plan{})
	o := &outcomes{}
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, p, "out", o, numbered("r", 100)...)
	if err := p.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if errs := o.failed(t, 100); len(errs) > 0 {
		t.Error(errs[0])
	}
	n := 0
	for part := range int32(3) {
		n += len(read(t, c, "out", part))
	}
	if n != 100 {
		t.Errorf("%d records are there, want 100", n)
	}
}

// A broker that asks for a pause gets it: nothing is sent on the connection before
// it is over (KIP-219).
func TestThrottledConnectionPauses(t *testing.T) {
	const pause = 300 * time.Millisecond
	c, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "out"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	arrived := make(chan time.Time, 10)
	c.Fake().ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		arrived <- time.Now()
		in := req.(*kmsg.ProduceRequest)
		resp := in.ResponseKind().(*kmsg.ProduceResponse)
		resp.ThrottleMillis = int32(pause / time.Millisecond)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = in.Topics[0].Topic
		topic.Partitions = append(topic.Partitions, kmsg.NewProduceResponseTopicPartition())
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	p := connect(t, testConfig(c.Brokers()), &plan{})
	o := &outcomes{}
	for range 2 {
		send(t, p, "out", o, "r")
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, second := <-arrived, <-arrived
	if d := second.Sub(first); d < pause {
		t.Errorf("the next request came after %v, the broker had asked for %v", d, pause)
	}
	if got := p.Stats().ThrottleTime; got != 2*pause {
		t.Errorf("the counters say %v, want %v", got, 2*pause)
	}
}
