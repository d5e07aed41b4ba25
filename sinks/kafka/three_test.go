//go:build three && unix

package kafka_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/sinks/kafka"
)

// replicated makes a topic of one partition, whose first replica leads it.
func replicated(t *testing.T, brokers []string, topic string, minInSync int, replicas ...int32) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	noError(t, err, "client")
	defer k.Close()
	assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	assignment.Replicas = replicas
	least := fmt.Sprint(minInSync)
	setting := kmsg.NewCreateTopicsRequestTopicConfig()
	setting.Name, setting.Value = "min.insync.replicas", &least
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, -1, -1
	rt.ReplicaAssignment, rt.Configs = append(rt.ReplicaAssignment, assignment), append(rt.Configs, setting)
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), k)
	noError(t, err, "create topic")
	noError(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode), "create topic")
}

// What acks and min.insync.replicas promise together when a broker is gone: nothing is
// written with too few in sync, and goes on when they are back.
func TestMinInSyncReplicas(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := &cluster{Client: checktest.Dial(t, three.Addresses()), t: t}
	id := fmt.Sprintf("min-in-sync-%d", time.Now().UnixNano())
	const gone = 3
	cases := []struct {
		name     string
		replicas []int32
		min      int
		acks     kafka.Acks
		written  bool
	}{
		{"the leader alone", []int32{1, gone}, 1, kafka.AcksAll, true}, // acks=all is acks=1 now
		{"two wanted, one there", []int32{1, gone}, 2, kafka.AcksAll, false},
		{"two wanted, two there", []int32{1, 2, gone}, 2, kafka.AcksAll, true}, // the standard
		{"three wanted, two there", []int32{1, 2, gone}, 3, kafka.AcksAll, false},
		{"three wanted, but not by acks=1", []int32{1, 2, gone}, 3, kafka.AcksLeader, true},
	}
	topic := func(i int) string { return fmt.Sprint(id, "-", i) }
	for i, tt := range cases {
		replicated(t, three.Addresses(), topic(i), tt.min, tt.replicas...)
		c.AwaitInSync(topic(i), len(tt.replicas))
	}
	three.Kill(gone)
	for i, tt := range cases {
		c.AwaitInSync(topic(i), len(tt.replicas)-1)
	}
	for i, tt := range cases {
		hasty := c.producer(kafka.ProducerSettings{Brokers: three.Addresses(), Producer: kafka.ProducerConfig{
			Acks: tt.acks, RequestTimeout: 2 * time.Second, DeliveryTimeout: 3 * time.Second,
		}})
		_, err := hasty.SendSync(t.Context(), kafka.Record{Topic: topic(i), Key: []byte("now")})
		if tt.written {
			noError(t, err, tt.name)
			continue
		}
		wantError(t, err, kafka.ErrDeliveryTimeout)
		if e, ok := err.(*kafka.DeliveryError); !ok || e.Class != kafka.Retriable || e.Code() != kerr.NotEnoughReplicas.Code || e.Attempts < 2 {
			t.Errorf("%s: %#v", tt.name, err)
		}
	}

	patient := c.producer(kafka.ProducerSettings{Brokers: three.Addresses()})
	noError(t, patient.Send(t.Context(), kafka.Record{Topic: topic(3), Key: []byte("later")}, nil), "send")
	c.Await("a retry", func() bool { return patient.Metrics().Retries > 0 })
	three.Mend()
	noError(t, patient.Flush(t.Context()), "flush")
	for i, tt := range cases {
		want := []string{}
		if tt.written {
			want = append(want, "now")
		}
		if i == 3 {
			want = append(want, "later")
		}
		same(t, tt.name, keys(c.ReadAll(topic(i))), want)
	}
}

// What acks=1 risks: the leader has acknowledged a record, no replica has it yet, and the
// leader dies. The next leader never had it. With acks=all it is not acknowledged, and
// written again.
func TestAcksLeaderLoses(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := &cluster{Client: checktest.Dial(t, three.Addresses()), t: t}
	topic := fmt.Sprintf("acks-leader-%d", time.Now().UnixNano())
	replicated(t, three.Addresses(), topic, 1, 1, 2, 3)
	c.AwaitInSync(topic, 3)
	producer := func(acks kafka.Acks) *kafka.Producer {
		p := c.producer(kafka.ProducerSettings{Brokers: three.Addresses(), Producer: kafka.ProducerConfig{Acks: acks, RequestTimeout: 2 * time.Second}})
		_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Key: []byte("before")})
		noError(t, err, "send")
		return p
	}
	leader, all := producer(kafka.AcksLeader), producer(kafka.AcksAll)

	three.Stop(2, 3)
	// The replicas' requests that the leader holds are answered with the first of these;
	// what comes after it they cannot have.
	for _, key := range []string{"first", "lost"} {
		r, err := leader.SendSync(t.Context(), kafka.Record{Topic: topic, Key: []byte(key)})
		noError(t, err, "send "+key)
		if r.Offset < 0 {
			t.Errorf("%s has no offset", key)
		}
	}
	f, err := all.SendFuture(t.Context(), kafka.Record{Topic: topic, Key: []byte("all")})
	noError(t, err, "send all")
	c.Await("all's attempt to time out", func() bool { return all.Metrics().Retries > 0 })
	three.Kill(1)
	three.Wake(2, 3)
	_, err = f.Wait(t.Context())
	noError(t, err, "all")
	got := keys(c.ReadAll(topic))
	if slices.Contains(got, "lost") || !slices.Contains(got, "all") {
		t.Errorf("the next leader has %v", got)
	}
	three.Mend()
}
