package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// exampleProducer is a producer on an embedded cluster with the topic orders.
func exampleProducer(change func(*kafka.ProducerSettings)) (p *kafka.Producer, end func()) {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "orders", Partitions: 4}, {Name: "orders.dlq"}}})
	if err != nil {
		panic(err)
	}
	settings := kafka.ProducerSettings{Brokers: cluster.Brokers(), Logger: silent}
	if change != nil {
		change(&settings)
	}
	p, err = kafka.NewProducer(context.Background(), settings)
	if err != nil {
		panic(err)
	}
	return p, func() {
		if err := errors.Join(p.Close(context.Background()), cluster.Close()); err != nil {
			fmt.Println(err)
		}
	}
}

func order(id string) kafka.Record {
	return kafka.Record{Topic: "orders", Key: []byte(id), Value: []byte(`{"status":"NEW"}`)}
}

// Records go out without a wait; each one's outcome comes to its callback. Flush waits
// for all of them and reports what was not written.
func ExampleProducer_Send() {
	p, end := exampleProducer(nil)
	defer end()
	ctx := context.Background()
	for _, id := range []string{"order-1", "order-2"} {
		err := p.Send(ctx, order(id), func(r kafka.Result, err error) {
			if err != nil {
				fmt.Println("not written:", err, kafka.ClassOf(err))
				return
			}
			fmt.Printf("%s is in %s[%d] at %d\n", id, r.Topic, r.Partition, r.Offset)
		})
		if err != nil {
			fmt.Println("not taken:", err)
		}
	}
	fmt.Println("flush:", p.Flush(ctx))
	// Unordered output:
	// order-1 is in orders[2] at 0
	// order-2 is in orders[3] at 0
	// flush: <nil>
}

// Fire and forget: nobody waits, not even the broker's answer is asked for.
func ExampleAcks() {
	p, end := exampleProducer(func(s *kafka.ProducerSettings) { s.Producer.Acks = kafka.AcksNone })
	defer end()
	r, err := p.SendSync(context.Background(), order("order-1"))
	fmt.Println(r.Offset, err)
	// Output:
	// -1 <nil>
}

func ExampleProducer_SendSync() {
	p, end := exampleProducer(nil)
	defer end()
	r, err := p.SendSync(context.Background(), order("order-1"))
	fmt.Println(r.Topic, r.Partition, r.Offset, err)
	// Output:
	// orders 2 0 <nil>
}

func ExampleProducer_SendFuture() {
	p, end := exampleProducer(nil)
	defer end()
	ctx := context.Background()
	var futures []*kafka.Future
	for range 3 {
		f, err := p.SendFuture(ctx, order("order-1"))
		if err != nil {
			fmt.Println(err)
			return
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		r, err := f.Wait(ctx)
		cancel()
		fmt.Println(r.Offset, err)
	}
	// Output:
	// 0 <nil>
	// 1 <nil>
	// 2 <nil>
}

func ExampleProducer_SendMany() {
	p, end := exampleProducer(nil)
	defer end()
	lost := order("order-2")
	lost.Partitioner = kafka.ToPartition(9)
	outcomes, err := p.SendMany(context.Background(), []kafka.Record{order("order-1"), lost})
	fmt.Println(err)
	fmt.Println(outcomes[0].Offset, outcomes[1].Err != nil)
	// Output:
	// 1 records were not written, the first: orders: partition does not exist: the partitioner chose 9 of topic "orders", which has 4
	// 0 true
}

// What a Go service sends: values of its own types, with a key from the value.
func ExampleFor() {
	type Order struct{ ID, Status string }
	p, end := exampleProducer(nil)
	defer end()
	orders := kafka.For(p, "orders", serde.JSON[Order](),
		kafka.KeyOf(func(o Order) string { return o.ID }, serde.String()),
		kafka.HeadersOf(func(Order) pipeline.Headers { return pipeline.Headers{kafka.SourceHeader("shop")} }))
	r, err := orders.SendSync(context.Background(), Order{ID: "order-1", Status: "NEW"})
	fmt.Println(r.Partition, r.Offset, err)
	// Output:
	// 2 0 <nil>
}

// All or nothing.
func ExampleProducer_InTransaction() {
	p, end := exampleProducer(func(s *kafka.ProducerSettings) { s.TransactionalID = "shop-1" })
	defer end()
	ctx := context.Background()
	fmt.Println(p.InTransaction(ctx, func(tx *kafka.Transaction) error {
		if err := tx.Send(ctx, order("order-1"), nil); err != nil {
			return err
		}
		return tx.Send(ctx, order("order-2"), nil)
	}))
	fmt.Println(p.InTransaction(ctx, func(tx *kafka.Transaction) error {
		if err := tx.Send(ctx, order("order-3"), nil); err != nil {
			return err
		}
		return errors.New("out of stock") // nobody will see order-3
	}))
	// Output:
	// <nil>
	// out of stock
}

// What to do about an error depends on its class.
func ExampleClassOf() {
	p, end := exampleProducer(func(s *kafka.ProducerSettings) { s.MaxHeaders = 1 })
	defer end()
	r := order("order-1")
	r.Headers = pipeline.Headers{kafka.SourceHeader("shop"), kafka.TraceIDHeader("4bf92f35")}
	err := p.Send(context.Background(), r, nil)
	fmt.Println(err)
	switch kafka.ClassOf(err) {
	case kafka.Retriable:
		fmt.Println("later")
	case kafka.RecordFault:
		fmt.Println("never: put it aside")
	default:
		fmt.Println("stop")
	}
	// Output:
	// orders: too many or too large headers: 2 headers, more than MaxHeaders (1)
	// never: put it aside
}

// Records that cannot be written go to another topic, from within the hook.
func ExampleProducerSettings_deadLetter() {
	var p *kafka.Producer
	p, end := exampleProducer(func(s *kafka.ProducerSettings) {
		s.DeadLetter = func(r kafka.Record, reason *kafka.DeliveryError) {
			if r.Topic == "orders.dlq" { // its own record
				fmt.Println("lost:", reason)
				return
			}
			r.Headers = r.Headers.Add("reason", []byte(reason.Error()))
			r.Topic, r.Partitioner = "orders.dlq", nil
			if err := p.Send(context.Background(), r, nil); err != nil {
				fmt.Println("lost:", err)
			}
		}
	})
	defer end()
	_, err := p.SendSync(context.Background(), order("order-1"))
	fmt.Println(err)
	// Output:
	// <nil>
}

// The first interceptor is the first to see a record. What they cost is theirs alone:
// if one fails, the record is sent without it.
func ExampleInterceptor() {
	var latency kafka.LatencyHistogram
	var errs kafka.ErrorCounter
	audit := kafka.InterceptorFuncs{
		Send: func(o *kafka.Outgoing) error {
			fmt.Printf("to %s: %s\n", o.Topic, o.Value())
			panic("audit is down")
		},
		Acknowledgment: func(r kafka.Result, err error) { fmt.Println("at", r.Offset, err) },
	}
	p, end := exampleProducer(func(s *kafka.ProducerSettings) {
		s.Interceptors = []kafka.Interceptor{audit, kafka.StampSendTime(), &errs, &latency}
	})
	defer end()
	_, err := p.SendSync(context.Background(), order("order-1"))
	fmt.Println(err, p.Metrics().InterceptorFailures, errs.Count("orders"), latency.Count())
	// Output:
	// to orders: {"status":"NEW"}
	// at 0 <nil>
	// <nil> 1 0 1
}

// A partitioner sees the serialized key, and may fail.
func ExamplePartitionFunc() {
	byShard := kafka.PartitionFunc(func(_ string, key, _ []byte, partitions int32) (int32, error) {
		if len(key) == 0 {
			return 0, errors.New("an order without a key")
		}
		return int32(key[len(key)-1]-'0') % partitions, nil
	})
	p, end := exampleProducer(func(s *kafka.ProducerSettings) { s.Partitioner = byShard })
	defer end()
	r, err := p.SendSync(context.Background(), order("order-6"))
	fmt.Println(r.Partition, err)
	_, err = p.SendSync(context.Background(), kafka.Record{Topic: "orders"})
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// orders: partition does not exist: the partitioner of topic "orders" failed: an order without a key
}

// Explicit, in turn, and sticky: what is not hashed.
func ExampleToPartition() {
	p, end := exampleProducer(nil)
	defer end()
	r := order("order-1")
	var at []int32
	for _, by := range []pipeline.Partitioner{kafka.ToPartition(3), kafka.EachInTurn(), kafka.Sticky, kafka.Sticky} {
		r.Partitioner = by
		got, err := p.SendSync(context.Background(), r)
		if err != nil {
			fmt.Println(err)
		}
		at = append(at, got.Partition)
	}
	fmt.Println(at[:2], at[2] == at[3]) // sticky begins anywhere
	// Output:
	// [3 0] true
}

// A full buffer: wait, at most MaxBlock, or be told at once.
func ExampleErrBufferFull() {
	p, end := exampleProducer(func(s *kafka.ProducerSettings) {
		s.Producer.MaxBlock, s.MaxPending = kafka.NoWait, 1
		s.Producer.Linger = time.Minute
	})
	defer end()
	ctx := context.Background()
	fmt.Println(p.Send(ctx, order("order-1"), nil))
	err := p.Send(ctx, order("order-2"), nil)
	fmt.Println(errors.Is(err, kafka.ErrBufferFull), kafka.ClassOf(err))
	// Output:
	// <nil>
	// true retriable
}

// A preset is a value: look at it, change it.
func ExampleThroughput() {
	cfg := kafka.Throughput()
	fmt.Println(cfg.BatchSize, cfg.Linger, cfg.BufferMemory)
	cfg.Compression, cfg.CompressionLevel = kafka.Zstd, 3
	fmt.Println(kafka.ProducerSettings{Brokers: []string{"kafka-1:9092"}, Producer: cfg}.Validate())
	// Output:
	// 65536 20ms 67108864
	// <nil>
}

// Rates come from two snapshots.
func ExampleMetrics_Since() {
	p, end := exampleProducer(func(s *kafka.ProducerSettings) { s.Producer.Linger = time.Minute })
	defer end()
	before := p.Metrics()
	for range 100 {
		if err := p.Send(context.Background(), order("order-1"), nil); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(p.Metrics().QueuedRecords, p.Flush(context.Background()))
	after := p.Metrics()
	rates := after.Since(before)
	fmt.Println(rates.RecordsPerRequestAvg, rates.RecordSendRate > 0, after.BufferAvailable == after.BufferTotal)
	// Output:
	// 100 <nil>
	// 100 true true
}
