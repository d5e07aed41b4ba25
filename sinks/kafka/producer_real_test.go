//go:build real

package kafka_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Every preset and every kind of acks writes each record once, in order.
func TestRealProducerPresetsAndAcks(t *testing.T) {
	c, brokers, id := realCluster(t)
	none := kafka.ProducerConfig{Acks: kafka.AcksNone}
	for name, cfg := range map[string]kafka.ProducerConfig{
		"throughput": kafka.Throughput(), "latency": kafka.LowLatency(), "durable": kafka.Durable(), "none": none,
		"zstd": {Compression: kafka.Zstd, CompressionLevel: 9}, "gzip": {Compression: kafka.Gzip, CompressionLevel: 1},
	} {
		topic := id + "-" + name
		c.CreateTopic(topic, 1, nil)
		p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
		const n = 2000
		results := make([]kafka.Result, 0, n)
		for i := range n {
			r := kafka.Record{Topic: topic, Key: []byte("k"), Value: []byte(fmt.Sprint(i)), Headers: pipeline.Headers{kafka.SourceHeader("test")}}
			noError(t, p.Send(t.Context(), r, func(r kafka.Result, err error) {
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				results = append(results, r)
			}), "send")
		}
		noError(t, p.Flush(t.Context()), "flush")
		c.Await("the records", func() bool { return len(c.ReadAll(topic)) >= n })
		for i, r := range c.ReadAll(topic) {
			if string(r.Value) != fmt.Sprint(i) || len(r.Headers) != 1 {
				t.Fatalf("%s: record %d is %s", name, i, r.Value)
			}
			want := r.Offset
			if name == "none" {
				want = -1
			}
			if results[i].Offset != want || !results[i].Timestamp.Equal(r.Timestamp) {
				t.Fatalf("%s: result %+v, the record is at %d, %v", name, results[i], r.Offset, r.Timestamp)
			}
		}
	}
}

// A topic that sets timestamps itself: the result has the broker's.
func TestRealProducerLogAppendTime(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-append", 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	p := c.producer(kafka.ProducerSettings{Brokers: brokers})
	old := time.Now().Add(-time.Hour)
	r, err := p.SendSync(t.Context(), kafka.Record{Topic: id + "-append", Timestamp: old})
	noError(t, err, "send")
	if got := c.ReadAll(id + "-append")[0].Timestamp; !r.Timestamp.Equal(got) || got.Sub(old) < time.Minute {
		t.Errorf("the result has %v, the record %v", r.Timestamp, got)
	}
}

// What this broker refuses, as its class.
func TestRealProducerErrors(t *testing.T) {
	c, brokers, id := realCluster(t)
	c.CreateTopic(id+"-small", 1, map[string]string{"max.message.bytes": "4000"})
	c.CreateTopic(id+"-compact", 1, map[string]string{"cleanup.policy": "compact"})
	p := c.producer(kafka.ProducerSettings{Brokers: brokers})
	for name, tt := range map[string]struct {
		r     kafka.Record
		kind  error
		class kafka.Class
	}{
		"large":       {kafka.Record{Topic: id + "-small", Value: incompressible(8000)}, pipeline.ErrTooLarge, kafka.RecordFault},
		"without key": {kafka.Record{Topic: id + "-compact", Value: []byte("v")}, nil, kafka.RecordFault},
		"no topic":    {kafka.Record{Topic: id + "-none"}, pipeline.ErrMissingTopic, kafka.Fatal},
		"bad name":    {kafka.Record{Topic: "no/such"}, pipeline.ErrMissingTopic, kafka.Fatal},
	} {
		_, err := p.SendSync(t.Context(), tt.r)
		wantError(t, err, tt.kind)
		if kafka.ClassOf(err) != tt.class {
			t.Errorf("%s: class %v of %v", name, kafka.ClassOf(err), err)
		}
	}
}

// Committed or not there; positions go along; a second owner of the id fences the first.
func TestRealProducerTransactions(t *testing.T) {
	c, brokers, id := realCluster(t)
	out := id + "-out"
	c.Client = checktest.Dial(t, brokers, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, TransactionalID: id})
	send := func(p *kafka.Producer, key string, end error) error {
		return p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
			for range 100 {
				if err := tx.Send(t.Context(), kafka.Record{Topic: out, Key: []byte(key)}, nil); err != nil {
					return err
				}
			}
			noError(t, tx.SendOffsets(t.Context(), []pipeline.Offset{{Partition: pipeline.Partition{Topic: id + "-in"}, Next: 7}}, pipeline.GroupMetadata{Group: id, Generation: -1}), "offsets")
			return end
		})
	}
	stop := errors.New("stop")
	if err := send(p, "aborted", stop); err != stop {
		t.Errorf("error %v", err)
	}
	if got := c.positions(id, id+"-in"); got > 0 {
		t.Errorf("position %d after an abort", got)
	}
	noError(t, send(p, "a", nil), "commit")
	q := c.producer(kafka.ProducerSettings{Brokers: brokers, TransactionalID: id})
	noError(t, send(q, "b", nil), "commit of the next owner")
	wantError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error {
		return tx.Send(t.Context(), kafka.Record{Topic: out, Key: []byte("fenced")}, nil)
	}), kafka.ErrFenced)
	noError(t, send(p, "c", nil), "commit of the first owner, anew")
	c.AwaitVisible(out)
	count := map[string]int{}
	for _, k := range keys(c.ReadAll(out)) {
		count[k]++
	}
	if fmt.Sprint(count) != "map[a:100 b:100 c:100]" || c.positions(id, id+"-in") != 7 {
		t.Errorf("%v, position %d", count, c.positions(id, id+"-in"))
	}
}
