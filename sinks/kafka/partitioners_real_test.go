//go:build real

package kafka_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Where this broker says the records are, whoever has chosen.
func TestRealPartitioners(t *testing.T) {
	c, brokers, topic := realTopic(t, 4, nil)
	seen := &journal[string]{}
	byLength := kafka.PartitionFunc(func(_ string, key, value []byte, partitions int32) (int32, error) {
		seen.add(string(key) + "=" + string(value))
		if len(key) == 0 {
			return 0, errors.New("no key")
		}
		return int32(len(key)) % partitions, nil
	})
	regions := kafka.ByRegion(map[string]int32{"us-east": 0, "us-west": 1, "eu-west": 2, "ap-south": 3, kafka.DefaultRegion: 1, "mars": 9})
	hash := func(key string) int32 { return kafka.HashKey.Partition(topic, []byte(key), nil, 4) }
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Partitioner: regions})
	want := map[string]int32{}
	for _, tt := range []struct {
		key  string
		by   pipeline.Partitioner
		want int32
	}{
		{"us-east:1", nil, 0}, {"us-west:1", nil, 1}, {"eu-west:1", nil, 2}, {"ap-south:1", nil, 3}, {"order-1", nil, 1},
		{"mars:1", nil, hash("mars:1")}, {"venus:1", nil, hash("venus:1")},
		{"us-east:2", kafka.ToPartition(3), 3}, {"us-east:3", kafka.HashKey, hash("us-east:3")},
		{"abc", byLength, 3},
	} {
		r, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Key: []byte(tt.key), Value: []byte("v"), Partitioner: tt.by})
		noError(t, err, tt.key)
		if want[tt.key] = tt.want; r.Partition != tt.want {
			t.Errorf("%s went to %d, want %d", tt.key, r.Partition, tt.want)
		}
	}
	same(t, "seen by the function", seen.list(), []string{"abc=v"})
	for says, by := range map[string]pipeline.Partitioner{"no key": byLength, "chose 4": kafka.ToPartition(4)} {
		_, err := p.SendSync(t.Context(), kafka.Record{Topic: topic, Partitioner: by})
		wantError(t, err, kafka.ErrPartition, says)
	}
	got := map[string]int32{}
	for part, records := range c.Read(topic) {
		for _, r := range records {
			got[string(r.Key)] = part
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the broker has %v, want %v", got, want)
	}
}

// Null keys: each partition gets as much in the long run, in runs that fill a batch.
// In turn: each gets as much at once.
func TestRealSpreading(t *testing.T) {
	for name, by := range map[string]pipeline.Partitioner{"sticky": nil, "in turn": kafka.EachInTurn()} {
		t.Run(name, func(t *testing.T) {
			c, brokers, topic := realTopic(t, 3, nil)
			p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: kafka.ProducerConfig{BatchSize: 4 << 10}, Partitioner: by})
			const n = 6000
			records := make([]kafka.Record, n)
			for i := range records {
				records[i] = kafka.Record{Topic: topic, Value: make([]byte, 150)}
			}
			outcomes, err := p.SendMany(t.Context(), records)
			noError(t, err, "send")
			changes := 0
			for i := range outcomes[1:] {
				if outcomes[i].Partition != outcomes[i+1].Partition {
					changes++
				}
			}
			if sticky := changes < n/10; sticky != (by == nil) {
				t.Errorf("%d changes of the partition", changes)
			}
			for part, end := range c.Ends(topic, false) {
				if end < n/3-40 || end > n/3+40 {
					t.Errorf("partition %d has %d of %d", part, end, n)
				}
			}
		})
	}
}
