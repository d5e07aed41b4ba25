// Command compression sends the same records with each codec and compares the bytes that
// go over the wire and into the log.
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

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	sorts := []struct {
		name  string
		codec kafka.Compression
		level int // 0 is the codec's own
	}{
		{"none", kafka.NoCompression, 0},
		{"snappy", kafka.Snappy, 0},
		{"lz4", kafka.LZ4, 0}, // the default: it costs little
		{"gzip-1", kafka.Gzip, 1},
		{"gzip-9", kafka.Gzip, 9},
		{"zstd-1", kafka.Zstd, 1},
		{"zstd-19", kafka.Zstd, 19},
	}
	var topics []embedded.Topic
	for _, s := range sorts {
		// A topic with another compression.type than "producer", the default, would have
		// the broker compress every batch again.
		topics = append(topics, embedded.Topic{Name: topic(s.name)})
	}
	c, err := cluster.Start(ctx, topics...)
	if err != nil {
		return err
	}
	defer c.Stop()

	sizes := map[string]int{}
	for _, s := range sorts {
		cfg := kafka.ProducerConfig{Compression: s.codec, CompressionLevel: s.level, BatchSize: 1 << 20, Linger: time.Minute}
		if err := send(ctx, c.Brokers, cfg, topic(s.name)); err != nil {
			return err
		}
		plain, stored, err := c.Size(ctx, topic(s.name))
		if err != nil {
			return err
		}
		sizes[s.name] = stored
		fmt.Printf("%-8s%4d %%\n", s.name, 100*stored/plain)
	}
	fmt.Println("zstd < gzip < lz4 < none:", sizes["zstd-19"] < sizes["gzip-9"] && sizes["gzip-9"] < sizes["lz4"] && sizes["lz4"] < sizes["none"])
	fmt.Println("a higher level is smaller:", sizes["gzip-9"] < sizes["gzip-1"] && sizes["zstd-19"] < sizes["zstd-1"])

	fmt.Println(kafka.ProducerSettings{
		Brokers:  c.Brokers,
		Producer: kafka.ProducerConfig{Compression: kafka.LZ4, CompressionLevel: 9},
	}.Validate())
	return nil
}

func topic(codec string) string { return "leat-example-compression-" + codec }

// send sends one batch, the same each time: compression is a batch's, not a record's, and
// finds more to save in a large one.
func send(ctx context.Context, brokers []string, cfg kafka.ProducerConfig, topic string) error {
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	for i := range 2000 {
		err := p.Send(ctx, kafka.Record{
			Topic: topic, Timestamp: time.UnixMilli(1_700_000_000_000), Key: fmt.Appendf(nil, "order-%d", i),
			Value: fmt.Appendf(nil, `{"customer":"customer-%d","street":"%d Mill Lane","cents":%d}`, i%97, i*i%89, i*7919%1009),
		}, nil)
		if err != nil {
			return err
		}
	}
	return p.Flush(ctx)
}
