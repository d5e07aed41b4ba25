//go:build real

package kafka_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// stored is what the batches of a topic are in the broker's log.
type stored struct {
	mu            sync.Mutex
	codec         uint8 // Kafka's number of the last batch's
	plain, packed int
}

func (s *stored) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, b kgo.FetchBatchMetrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.codec = b.CompressionType
	s.plain += b.UncompressedBytes
	s.packed += b.CompressedBytes
}

func storedOf(t *testing.T, brokers []string, topic string) *stored {
	t.Helper()
	s := &stored{}
	checktest.Dial(t, brokers, kgo.WithHooks(s)).ReadAll(topic)
	return s
}

// sendBatch sends one batch of 1,000 records, the same bytes each time.
func sendBatch(t *testing.T, c *cluster, brokers []string, topic string, cfg kafka.ProducerConfig, headers pipeline.Headers) {
	t.Helper()
	cfg.BatchSize, cfg.Linger = 1<<20, time.Minute
	p := c.producer(kafka.ProducerSettings{Brokers: brokers, Producer: cfg})
	for i := range 1000 {
		noError(t, p.Send(t.Context(), kafka.Record{
			Topic: topic, Key: fmt.Append(nil, i), Headers: headers, Timestamp: time.UnixMilli(1_700_000_000_000),
			Value: fmt.Appendf(nil, `{"name":"customer %d","street":"%d Mill Lane","total":%d}`, i%97, i*i%89, i*7919%1009),
		}, nil), "send")
	}
	noError(t, p.Flush(t.Context()), "flush")
}

// Each codec is in the log as it was sent, and the higher level is smaller.
func TestRealCodecs(t *testing.T) {
	c, brokers, id := realCluster(t)
	size := map[string]int{}
	for name, tt := range map[string]struct {
		cfg   kafka.ProducerConfig
		codec uint8
	}{
		"default": {kafka.ProducerConfig{}, 3}, "none": {kafka.ProducerConfig{Compression: kafka.NoCompression}, 0},
		"snappy": {kafka.ProducerConfig{Compression: kafka.Snappy}, 2},
		"gzip-1": {kafka.ProducerConfig{Compression: kafka.Gzip, CompressionLevel: 1}, 1},
		"gzip-9": {kafka.ProducerConfig{Compression: kafka.Gzip, CompressionLevel: 9}, 1},
		"zstd-1": {kafka.ProducerConfig{Compression: kafka.Zstd, CompressionLevel: 1}, 4},
		"zstd-9": {kafka.ProducerConfig{Compression: kafka.Zstd, CompressionLevel: 22}, 4},
	} {
		topic := id + "-" + name
		c.CreateTopic(topic, 1, nil)
		sendBatch(t, c, brokers, topic, tt.cfg, nil)
		s := storedOf(t, brokers, topic)
		if s.codec != tt.codec {
			t.Errorf("%s: the log has codec %d, want %d", name, s.codec, tt.codec)
		}
		size[name] = s.packed
	}
	for _, pair := range [][2]string{{"default", "none"}, {"snappy", "none"}, {"gzip-9", "gzip-1"}, {"zstd-9", "zstd-1"}, {"zstd-9", "default"}, {"gzip-9", "default"}} {
		if size[pair[0]] >= size[pair[1]] {
			t.Errorf("%s takes %d bytes, %s %d", pair[0], size[pair[0]], pair[1], size[pair[1]])
		}
	}
}

// A topic with a compression.type of its own has the broker compress again; "producer"
// keeps what was sent.
func TestRealTopicsOtherCompression(t *testing.T) {
	c, brokers, id := realCluster(t)
	for setting, codec := range map[string]uint8{"gzip": 1, "producer": 3, "uncompressed": 0} {
		topic := id + "-" + setting
		c.CreateTopic(topic, 1, map[string]string{"compression.type": setting})
		sendBatch(t, c, brokers, topic, kafka.ProducerConfig{Compression: kafka.LZ4}, nil)
		if s := storedOf(t, brokers, topic); s.codec != codec {
			t.Errorf("compression.type=%s: the log has codec %d, want %d", setting, s.codec, codec)
		}
	}
}

// Headers are compressed with their batch: those that repeat cost hardly anything.
func TestRealHeadersAreCompressed(t *testing.T) {
	c, brokers, id := realCluster(t)
	sizes := map[string]*stored{}
	for name, headers := range map[string]pipeline.Headers{
		"without": nil, "with": {kafka.SourceHeader("order-service"), kafka.ContentTypeHeader("application/json"), kafka.SchemaVersionHeader("3")},
	} {
		topic := id + "-" + name
		c.CreateTopic(topic, 1, nil)
		sendBatch(t, c, brokers, topic, kafka.ProducerConfig{Compression: kafka.Zstd}, headers)
		sizes[name] = storedOf(t, brokers, topic)
	}
	plain, packed := sizes["with"].plain-sizes["without"].plain, sizes["with"].packed-sizes["without"].packed
	if plain < 1000*60 || packed > plain/20 {
		t.Errorf("headers of 1,000 records take %d bytes, compressed %d", plain, packed)
	}
}
