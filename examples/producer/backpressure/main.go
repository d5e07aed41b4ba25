// Command backpressure shows what happens when records come faster than they are written:
// a send waits, or fails at once, and a hook tells before that.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-backpressure"

var record = kafka.Record{Topic: topic, Key: []byte("click"), Value: []byte("{}")}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 5})
	if err != nil {
		return err
	}
	defer c.Stop()
	for _, strategy := range []func(context.Context, []string) error{block, giveUp, failFast, alert} {
		if err := strategy(ctx, c.Brokers); err != nil {
			return err
		}
	}
	return nil
}

// block: the default. A send waits for room, here among few records, so that a slow cluster
// slows its callers down early: MaxPending is the semaphore that one would write around a
// producer, and BufferMemory (32 MiB) bounds the bytes.
func block(ctx context.Context, brokers []string) error {
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: brokers, MaxPending: 10})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	most := int64(0)
	for range 100 {
		if err := p.Send(ctx, record, nil); err != nil {
			return err
		}
		most = max(most, p.Metrics().Pending)
	}
	err = p.Flush(ctx)
	fmt.Printf("block: %d written, never more than 10 on their way: %v\n", p.Metrics().RecordsAcked, most <= 10)
	return err
}

// giveUp: the caller's context ends a wait before MaxBlock (60 s) does.
func giveUp(ctx context.Context, brokers []string) error {
	p, release, err := full(ctx, brokers, 0)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	defer release()
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	err = p.Send(short, record, nil)
	fmt.Println("give up:", errors.Is(err, context.DeadlineExceeded), kafka.ClassOf(err))
	return nil
}

// failFast: no room is an error at once, for callers who would rather drop a record.
func failFast(ctx context.Context, brokers []string) error {
	p, release, err := full(ctx, brokers, kafka.NoWait)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	defer release()
	err = p.Send(ctx, record, nil)
	fmt.Println("fail fast:", errors.Is(err, kafka.ErrBufferFull), kafka.ClassOf(err))
	return nil
}

// full is a producer without room until release is called: the callback of one record does not
// return, nor does another one begin, and a record counts until then.
func full(ctx context.Context, brokers []string, maxBlock time.Duration) (p *kafka.Producer, release func(), err error) {
	p, err = kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers, MaxPending: 1, Producer: kafka.ProducerConfig{MaxBlock: maxBlock},
	})
	if err != nil {
		return nil, nil, err
	}
	begun, end := make(chan struct{}), make(chan struct{})
	wait := func(kafka.Result, error) { close(begun); <-end }
	if err := p.Send(ctx, record, wait); err != nil {
		return nil, nil, err
	}
	<-begun // it has given its place up
	return p, func() { close(end) }, p.Send(ctx, record, func(kafka.Result, error) {})
}

// alert: a hook is called when less than 20 % of the buffer is available.
func alert(ctx context.Context, brokers []string) error {
	low := make(chan string, 1)
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers,
		Producer: kafka.ProducerConfig{
			BufferMemory: 5000, BatchSize: 1000, MaxRequestSize: 1000, // room for five batches, full or not
			Linger: time.Minute,
		},
		OnBufferLow: func(available, total int64) { low <- fmt.Sprintf("%d of %d bytes are available", available, total) },
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	r := record
	for partition := range int32(5) {
		r.Partitioner = kafka.ToPartition(partition)
		if err := p.Send(ctx, r, nil); err != nil {
			return err
		}
	}
	select {
	case said := <-low:
		fmt.Println("alert:", said)
	case <-ctx.Done():
		return ctx.Err()
	}
	err = p.Flush(ctx)
	m := p.Metrics()
	fmt.Printf("after the flush: %d of %d\n", m.BufferAvailable, m.BufferTotal)
	return err
}
