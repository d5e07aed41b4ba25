// Command partitioners shows who chooses a record's partition: the record's own
// partitioner, then the producer's, then the hash of the key, and without a key the sticky
// one.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-partitioners"

// byRegion sends a region's records to its own partition. What is not in the map is
// hashed as every key is.
var byRegion = kafka.ByRegion(map[string]int32{"us-east": 0, "us-west": 1, "eu-west": 2, "ap-south": 3})

// byShard is a partitioner of our own. It sees the serialized key, and its error is the
// record's.
var byShard = kafka.PartitionFunc(func(_ string, key, _ []byte, partitions int32) (int32, error) {
	if len(key) == 0 {
		return 0, errors.New("an order without a key")
	}
	return int32(key[len(key)-1]-'0') % partitions, nil
})

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 4})
	if err != nil {
		return err
	}
	defer c.Stop()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers:  c.Brokers,
		Producer: kafka.ProducerConfig{BatchSize: 1000}, // small, so that Sticky moves on soon
		// Partitioner: byRegion, for all records that name none
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	for _, s := range []struct {
		what string
		by   pipeline.Partitioner
		keys []string
	}{
		{"the key's hash, as Java's", nil, []string{"order-1", "order-2", "order-3", "order-1"}},
		{"explicit", kafka.ToPartition(3), []string{"order-1", "order-2"}},
		{"in turn", kafka.EachInTurn(), []string{"order-1", "order-1", "order-1", "order-1", "order-1"}},
		{"by region", byRegion, []string{"us-east:order-1", "us-west:order-2", "eu-west:order-3", "ap-south:order-4", "mars:order-5"}},
		{"the same key, hashed", nil, []string{"mars:order-5"}},
		{"our own", byShard, []string{"order-1", "order-2", "order-7"}},
		{"our own, failing", byShard, []string{""}},
		{"one that does not exist", kafka.ToPartition(4), []string{"order-1"}},
	} {
		if err := send(ctx, p, s.what, s.by, s.keys); err != nil {
			fmt.Println(" ", err, "is", kafka.ClassOf(err))
		}
	}
	return sticky(ctx, p)
}

// sticky sends records without a key. It begins with any partition, so only how many go to
// one before the next has its turn is always the same.
func sticky(ctx context.Context, p *kafka.Producer) error {
	outcomes, err := p.SendMany(ctx, slices.Repeat([]kafka.Record{{Topic: topic, Value: make([]byte, 250)}}, 12))
	fmt.Print("sticky, in runs of:")
	run := 0
	for i, o := range outcomes {
		if run++; i == len(outcomes)-1 || outcomes[i+1].Partition != o.Partition {
			fmt.Print(" ", run)
			run = 0
		}
	}
	fmt.Println()
	return err
}

// send sends a record of 250 bytes for each key and prints their partitions.
func send(ctx context.Context, p *kafka.Producer, what string, by pipeline.Partitioner, keys []string) error {
	var records []kafka.Record
	for _, key := range keys {
		records = append(records, kafka.Record{Topic: topic, Key: []byte(key), Value: make([]byte, 250), Partitioner: by})
	}
	outcomes, err := p.SendMany(ctx, records)
	fmt.Printf("%s:", what)
	for _, o := range outcomes {
		fmt.Print(" ", o.Partition)
	}
	fmt.Println()
	return err
}
