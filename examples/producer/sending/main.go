// Command sending shows the ways to send a record, and who is told what became of it.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-sending"

func order(id string) kafka.Record {
	return kafka.Record{Topic: topic, Key: []byte(id), Value: []byte(`{"status":"NEW"}`)}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic})
	if err != nil {
		return err
	}
	defer c.Stop()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	for _, way := range []func(context.Context, *kafka.Producer) error{forget, sync, callback, future, many} {
		if err := way(ctx, p); err != nil {
			return err
		}
	}
	written, err := c.Read(ctx, topic, 0)
	fmt.Println("records in the topic:", len(written))
	return err
}

// forget: nobody waits for this record. What fails is reported by the next Flush or
// Close; not even that with AcksNone (see ../acks).
func forget(ctx context.Context, p *kafka.Producer) error {
	if err := p.Send(ctx, order("order-1"), nil); err != nil {
		return err // it was not taken: no room, no such topic
	}
	err := p.Flush(ctx) // before the program ends
	fmt.Println("forget: flush:", err)
	return err
}

// sync: simple, and slow: every record waits for Linger and a round trip.
func sync(ctx context.Context, p *kafka.Producer) error {
	r, err := p.SendSync(ctx, order("order-2"))
	if err != nil {
		return err
	}
	fmt.Println("sync: offset", r.Offset)
	return nil
}

// callback: the usual way. No record waits, and each outcome is told, those of a batch in
// its order, on one goroutine of the producer; nothing has to be polled.
func callback(ctx context.Context, p *kafka.Producer) error {
	for _, id := range []string{"order-3", "order-4"} {
		err := p.Send(ctx, order(id), func(r kafka.Result, err error) {
			if err != nil {
				fmt.Println("callback:", id, "was not written:", err) // see ../errors
				return
			}
			fmt.Println("callback:", id, "is at offset", r.Offset)
		})
		if err != nil {
			return err
		}
	}
	return p.Flush(ctx) // waits for the callbacks, too
}

// future: send several, look later, each wait with a limit of its own.
func future(ctx context.Context, p *kafka.Producer) error {
	var futures []*kafka.Future
	for _, id := range []string{"order-5", "order-6"} {
		f, err := p.SendFuture(ctx, order(id))
		if err != nil {
			return err
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		r, err := f.Wait(ctx) // its end does not take the record back
		cancel()
		if err != nil {
			return err
		}
		fmt.Println("future: offset", r.Offset)
	}
	return nil
}

// many: several at once, and an outcome for each in their order. One record's fault is
// not the others'.
func many(ctx context.Context, p *kafka.Producer) error {
	bad := order("order-8")
	bad.Partitioner = kafka.ToPartition(9)
	outcomes, err := p.SendMany(ctx, []kafka.Record{order("order-7"), bad, order("order-9")})
	for _, o := range outcomes {
		fmt.Println("many: offset", o.Offset, o.Err)
	}
	fmt.Println("many:", err)
	return nil
}
