//go:build real

package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The broker's message.max.bytes, about 1 MB, bounds a record unless its topic says
// otherwise; the producer's own bound is before compression, the broker's after it.
func TestRealMaxMessageBytes(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-default", 1, nil)
	c.CreateTopic(id+"-larger", 1, map[string]string{"max.message.bytes": "3000000"})
	const size = 1_500_000
	large := func(topic string, value []byte) kafka.Record {
		return kafka.Record{Topic: id + topic, Key: []byte("large"), Value: value}
	}
	plain := c.producer(kafka.ProducerSettings{Brokers: brokers})
	_, err := plain.SendSync(t.Context(), large("-larger", incompressible(size)))
	wantError(t, err, pipeline.ErrTooLarge, "MaxRequestSize")

	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: kafka.ProducerConfig{MaxRequestSize: 2 << 20}})
	_, err = p.SendSync(t.Context(), large("-default", incompressible(size)))
	wantError(t, err, pipeline.ErrTooLarge)
	if e := err.(*kafka.DeliveryError); e.Class != kafka.RecordFault || e.Code() != 10 || e.Attempts == 0 {
		t.Errorf("%+v", e)
	}
	_, err = p.SendSync(t.Context(), large("-larger", incompressible(size)))
	noError(t, err, "send to the topic that takes more")
	_, err = p.SendSync(t.Context(), large("-default", make([]byte, size)))
	noError(t, err, "send what compresses well")
}

// Many small records in a batch that this topic does not take as a whole: it is cut until
// they fit, and only the one that is too large by itself is refused, and goes to the
// dead-letter hook.
func TestRealSplitAndDeadLetter(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, map[string]string{"max.message.bytes": "4000"})
	c.CreateTopic(topic+"-dlq", 1, nil)
	var p *kafka.Producer
	p = c.producer(kafka.ProducerSettings{
		Brokers: brokers, Producer: kafka.ProducerConfig{Linger: time.Minute, Compression: kafka.NoCompression},
		DeadLetter: func(r kafka.Record, reason *kafka.DeliveryError) {
			r.Topic, r.Headers = topic+"-dlq", r.Headers.Add("reason", []byte(reason.Class.String()))
			if err := p.Send(context.Background(), r, nil); err != nil {
				t.Error(err)
			}
		},
	})
	want := []string{}
	for i := range 50 {
		r := kafka.Record{Topic: topic, Key: fmt.Append(nil, i), Value: incompressible(1000)}
		if i == 25 {
			r.Key, r.Value = []byte("large"), incompressible(8000)
		} else {
			want = append(want, fmt.Sprint(i))
		}
		noError(t, p.Send(t.Context(), r, nil), "send")
	}
	wantError(t, p.Flush(t.Context()), pipeline.ErrTooLarge)
	noError(t, p.Flush(t.Context()), "flush the dead letter")
	same(t, "records", keys(c.ReadAll(topic)), want)
	dead := c.ReadAll(topic + "-dlq")
	if len(dead) != 1 || string(dead[0].Key) != "large" || len(dead[0].Value) != 8000 || string(dead[0].Headers[0].Value) != "the record's" {
		t.Errorf("dead letters: %v", keys(dead))
	}
	if m := p.Metrics(); m.Splits == 0 || m.RecordsFailed != 1 || m.RecordsAcked != 50 {
		t.Errorf("%+v", m)
	}
}
