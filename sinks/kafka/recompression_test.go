package kafka_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// logbook is a logger whose lines can be read.
type logbook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// lines returns those that contain a text.
func (l *logbook) lines(text string) (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.buf.String()) {
		if strings.Contains(line, text) {
			all = append(all, line)
		}
	}
	return all
}

const recompressed = "compresses every batch"

func withCodec(name, codec string) embedded.Topic {
	return embedded.Topic{Name: name, Partitions: 1, Config: map[string]string{"compression.type": codec}}
}

// A topic that has the broker compress again is a warning at the start, of a pipeline
// and of a producer.
func TestRecompressionIsReported(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{
		topic("in", 1), withCodec("out", "zstd"), withCodec("same", "lz4"), withCodec("any", "producer"), withCodec("plain", "uncompressed"),
	}})
	var log logbook
	cfg := c.config()
	cfg.Logger = log.logger()
	noError(t, run(t, copying("copy"), cfg), "run")
	if l := log.lines(recompressed); len(l) != 1 || !strings.Contains(l[0], "topic=out") || !strings.Contains(l[0], "compression.type=producer, or Compression to zstd") || !strings.Contains(l[0], "producer=lz4") {
		t.Errorf("the pipeline logs %q", l)
	}

	all := []string{"out", "same", "any", "plain"}
	for codec, want := range map[kafka.Compression][]string{
		kafka.LZ4: {"topic=out", "topic=plain"}, kafka.Zstd: {"topic=same", "topic=plain"}, kafka.NoCompression: {"topic=out", "topic=same"},
	} {
		var log logbook
		c.producer(kafka.ProducerSettings{Topics: all, Logger: log.logger(), Producer: kafka.ProducerConfig{Compression: codec}})
		got := log.lines(recompressed)
		if len(got) != len(want) {
			t.Errorf("%v: %q", codec, got)
			continue
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				t.Errorf("%v: %q, want %q", codec, got[i], want[i])
			}
		}
	}
}

// Topics that a producer is told of are looked for at the start.
func TestProducerTopicsAreChecked(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	_, err := kafka.NewProducer(t.Context(), kafka.ProducerSettings{Brokers: c.fake.Brokers(), Topics: []string{"out", "nowhere"}, Logger: silent})
	wantError(t, err, pipeline.ErrMissingTopic, "nowhere")
}
