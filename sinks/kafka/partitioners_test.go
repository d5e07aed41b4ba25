package kafka_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// Explicit before the producer's partitioner before the key's hash before sticky.
func TestWhoChoosesThePartition(t *testing.T) {
	t.Parallel()
	c := out(t, 5)
	key := []byte("customer-42")
	hash := kafka.HashKey.Partition("out", key, nil, 5)
	other := (hash + 1) % 5
	plain := c.producer(kafka.ProducerSettings{})
	fixed := c.producer(kafka.ProducerSettings{Partitioner: kafka.ToPartition(other)})
	const sticks = -1 // where the first such record went
	first := map[*kafka.Producer]int32{}
	for name, tt := range map[string]struct {
		p    *kafka.Producer
		r    kafka.Record
		want int32
	}{
		"hash":              {plain, kafka.Record{Key: key}, hash},
		"empty key":         {plain, kafka.Record{Key: []byte{}}, kafka.HashKey.Partition("out", []byte{}, nil, 5)},
		"null key":          {plain, kafka.Record{}, sticks},
		"explicit":          {plain, kafka.Record{Key: key, Partitioner: kafka.ToPartition((hash + 2) % 5)}, (hash + 2) % 5},
		"producer's":        {fixed, kafka.Record{Key: key}, other},
		"record's first":    {fixed, kafka.Record{Key: key, Partitioner: kafka.HashKey}, hash},
		"explicit sticky":   {fixed, kafka.Record{Key: key, Partitioner: kafka.Sticky}, sticks},
		"a function leaves": {fixed, kafka.Record{Partitioner: kafka.PartitionFunc(func(string, []byte, []byte, int32) (int32, error) { return pipeline.AnyPartition, nil })}, sticks},
	} {
		tt.r.Topic = "out"
		got, err := tt.p.SendSync(t.Context(), tt.r)
		noError(t, err, name)
		if at, ok := first[tt.p]; tt.want == sticks && !ok {
			first[tt.p] = got.Partition
			continue
		} else if tt.want == sticks {
			tt.want = at
		}
		if got.Partition != tt.want {
			t.Errorf("%s: partition %d, want %d", name, got.Partition, tt.want)
		}
	}
}

// Records without a key fill a batch before they go to the next partition, and over
// time each partition gets as much.
func TestStickyIsUniform(t *testing.T) {
	t.Parallel()
	const partitions, n, size, batch = 3, 6000, 150, 4 << 10
	c := out(t, partitions)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{BatchSize: batch}})
	parts := make([]kafka.Record, n)
	for i := range parts {
		parts[i] = kafka.Record{Topic: "out", Value: make([]byte, size)}
	}
	got, err := p.SendMany(t.Context(), parts)
	noError(t, err, "send")
	count, changes := map[int32]int{}, 0
	for i := range got {
		count[got[i].Partition]++
		if i > 0 && got[i].Partition != got[i-1].Partition {
			changes++
		}
	}
	for part, k := range count {
		if k < n/partitions-40 || k > n/partitions+40 {
			t.Errorf("partition %d has %d of %d", part, k, n)
		}
	}
	if most := n*300/batch + 1; changes > most || changes < n*size/batch/2 {
		t.Errorf("%d changes of the partition", changes)
	}
}

func TestEachInTurn(t *testing.T) {
	t.Parallel()
	c := out(t, 3)
	p := c.producer(kafka.ProducerSettings{Partitioner: kafka.EachInTurn()})
	got, err := p.SendMany(t.Context(), []kafka.Record{record("a", "1"), record("a", "2"), record("a", "3"), record("a", "4")})
	noError(t, err, "send")
	same(t, "partitions", []int32{got[0].Partition, got[1].Partition, got[2].Partition, got[3].Partition}, []int32{0, 1, 2, 0})
}

var errRegion = errors.New("no such region")

// What a partitioner does wrong is the record's error; nothing is sent.
func TestPartitionersThatFail(t *testing.T) {
	t.Parallel()
	c := out(t, 2)
	p := c.producer(kafka.ProducerSettings{})
	answer := func(n int32) pipeline.Partitioner {
		return pipeline.PartitionerFunc(func(string, []byte, []byte, int32) int32 { return n })
	}
	for says, by := range map[string]pipeline.Partitioner{
		"chose 2":            answer(2),
		"chose -7":           answer(-7),
		"chose -2":           kafka.ToPartition(-1),
		"no such region":     kafka.PartitionFunc(func(string, []byte, []byte, int32) (int32, error) { return 0, errRegion }),
		"panic: out of maps": pipeline.PartitionerFunc(func(string, []byte, []byte, int32) int32 { panic("out of maps") }),
	} {
		r := record("a", "1")
		r.Partitioner = by
		err := p.Send(t.Context(), r, nil)
		wantError(t, err, kafka.ErrPartition, says)
		if e := err.(*kafka.DeliveryError); e.Class != kafka.RecordFault || e.Partition != -1 || e.Attempts != 0 {
			t.Errorf("%s: %+v", says, e)
		}
		if says == "no such region" && !errors.Is(err, errRegion) {
			t.Errorf("%v does not wrap the partitioner's error", err)
		}
	}
	noError(t, p.Flush(t.Context()), "flush")
	same(t, "out", keys(c.ReadAll("out")), []string{})
}

// In a pipeline, too, it meets the record's policy.
func TestAPartitionerThatFailsInAPipeline(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 2), topic("dlq", 1)}})
	c.Produce(numbered("in", 0, 3)...)
	p := pipeline.New("copy", pipeline.DeadLetter("dlq"))
	by := kafka.PartitionFunc(func(_ string, key, _ []byte, _ int32) (int32, error) {
		switch string(key) {
		case "k1":
			return 0, errRegion
		case "k2":
			panic(fmt.Sprintf("of %d", 1))
		}
		return 1, nil
	})
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes(), pipeline.PartitionBy(by))
	noError(t, run(t, p, c.config()), "run")
	same(t, "out", values(c.ReadAll("out")), []string{"v0"})
	same(t, "dead letters", values(c.ReadAll("dlq")), []string{"v1", "v2"})
}
