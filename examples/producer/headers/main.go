// Command headers sends the usual headers, limits them, and shows what they cost: their
// bytes with every record, of which a batch's compression leaves little where they repeat.
package main

import (
	"context"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-headers"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic},
		embedded.Topic{Name: topic + "-none"}, embedded.Topic{Name: topic + "-same"}, embedded.Topic{Name: topic + "-traced"})
	if err != nil {
		return err
	}
	defer c.Stop()
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers:    c.Brokers,
		Producer:   kafka.ProducerConfig{Compression: kafka.Zstd, BatchSize: 1 << 20, Linger: time.Minute},
		MaxHeaders: 8, MaxHeaderBytes: 1024,
	})
	if err != nil {
		return err
	}
	defer p.Close(ctx)

	same := pipeline.Headers{
		kafka.SourceHeader("order-service"),
		kafka.ContentTypeHeader("application/json"),
		kafka.SchemaVersionHeader("3"),
	}
	event := kafka.Record{Topic: topic, Key: []byte("event-1"), Value: []byte(`{"type":"created"}`), Headers: same.Add("trace-id", traceID())}
	if err := p.Send(ctx, event, nil); err != nil {
		return err
	}
	event.Headers = same.Add("huge", make([]byte, 2000))
	err = p.Send(ctx, event, nil)
	fmt.Println(err, "is", kafka.ClassOf(err))
	if err := p.Flush(ctx); err != nil {
		return err
	}

	// A reader sees headers without decoding the value.
	written, err := c.Read(ctx, topic, 1)
	if err != nil {
		return err
	}
	for _, h := range written[0].Headers {
		fmt.Printf("%s: %s\n", h.Key, h.Value)
	}

	// What they cost: the same 1,000 records without headers, with three that are the same
	// in each, and with a trace id as well, which no codec can make much smaller.
	plain, stored, err := size(ctx, c, p, topic+"-none", func() pipeline.Headers { return nil })
	if err != nil {
		return err
	}
	for _, h := range []struct {
		name string
		of   func() pipeline.Headers
	}{
		{"same", func() pipeline.Headers { return same }},
		{"traced", func() pipeline.Headers { return same.Add(kafka.HeaderTraceID, traceID()) }},
	} {
		withPlain, withStored, err := size(ctx, c, p, topic+"-"+h.name, h.of)
		if err != nil {
			return err
		}
		fmt.Printf("%s headers: %d bytes a record, compressed %d\n", h.name, (withPlain-plain)/records, (withStored-stored)/records)
	}
	return nil
}

const records = 1000

// size sends one batch and returns its bytes before and after compression.
func size(ctx context.Context, c *cluster.Cluster, p *kafka.Producer, topic string, headers func() pipeline.Headers) (plain, stored int, err error) {
	for i := range records {
		err := p.Send(ctx, kafka.Record{
			Topic: topic, Timestamp: time.UnixMilli(1_700_000_000_000), Headers: headers(),
			Key: fmt.Appendf(nil, "event-%d", i), Value: fmt.Appendf(nil, `{"type":"created","number":%d}`, i),
		}, nil)
		if err != nil {
			return 0, 0, err
		}
	}
	if err := p.Flush(ctx); err != nil {
		return 0, 0, err
	}
	return c.Size(ctx, topic)
}

var random = rand.New(rand.NewPCG(1, 2))

func traceID() []byte { return fmt.Appendf(nil, "%016x%016x", random.Uint64(), random.Uint64()) }
