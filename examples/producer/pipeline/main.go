// Command pipeline makes the steps of a send visible: which part sees the record, in
// which order, and in which form.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-pipeline"

type order struct {
	ID    string
	Cents int
}

func (o order) id() string { return o.ID }

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

	var p *kafka.Producer
	tracing := kafka.InterceptorFuncs{
		Send: func(o *kafka.Outgoing) error {
			fmt.Printf("1. interceptor, before the encoding: %+v\n", o.Value())
			return nil
		},
		Acknowledgment: func(r kafka.Result, err error) {
			fmt.Printf("6. compression, 7. sender: %d batch in %d request\n", p.Metrics().Batches, p.Metrics().Requests)
			fmt.Printf("8. interceptor, acknowledged: offset %d, %v\n", r.Offset, err)
		},
	}
	p, err = kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers:      c.Brokers,
		Interceptors: []kafka.Interceptor{tracing},
		Partitioner:  partitioner,
		Producer:     kafka.ProducerConfig{Compression: kafka.LZ4, Linger: time.Minute}, // so that step 5 can be seen
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	orders := kafka.For(p, topic,
		told[order]{serde.JSON[order](), "3. value serializer"},
		kafka.KeyOf(order.id, pipeline.Serde[string](told[string]{serde.String(), "2. key serializer"})))

	err = orders.Send(ctx, order{"order-1", 9999}, func(r kafka.Result, err error) {
		fmt.Printf("9. callback: partition %d, offset %d, %v\n", r.Partition, r.Offset, err)
	})
	if err != nil {
		return err // it was not taken: steps 1 to 5 are the caller's goroutine's
	}
	fmt.Printf("5. accumulator: %d record in a batch, %d requests\n", p.Metrics().QueuedRecords, p.Metrics().Requests)
	return p.Flush(ctx) // seals the batch; else Linger does, or its size
}

// partitioner sees bytes: serialization comes before it.
var partitioner = kafka.PartitionFunc(func(topic string, key, value []byte, partitions int32) (int32, error) {
	chosen := kafka.HashKey.Partition(topic, key, value, partitions)
	fmt.Printf("4. partitioner: key %q, value %s: %d of %d\n", key, value, chosen, partitions)
	return chosen, nil
})

// told is a serde that says what it does.
type told[T any] struct {
	pipeline.Serde[T]
	step string
}

func (t told[T]) Append(ctx context.Context, dst []byte, at pipeline.Slot, v T) ([]byte, error) {
	out, err := t.Serde.Append(ctx, dst, at, v)
	fmt.Printf("%s: %+v becomes %d bytes\n", t.step, v, len(out)-len(dst))
	return out, err
}
