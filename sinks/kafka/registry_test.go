package kafka_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

type reading struct {
	Value int64 `avro:"value"`
}

const readingSchema = `{"type":"record","name":"reading","fields":[{"name":"value","type":"long"}]}`

// framed is a value in the registry's wire format, its schema registered by
// another client.
func framed[T any](t *testing.T, reg *registry.Client, schema string, v T) []byte {
	t.Helper()
	s := serde.Avro[T](reg, serde.Schema(schema))
	b, err := s.Append(context.Background(), []byte{}, pipeline.Slot{Topic: "in"}, v)
	noError(t, err, "encode")
	return b
}

func avroPipeline(reg *registry.Client) *pipeline.Pipeline {
	p := pipeline.New("copy", pipeline.DeadLetter("dlq"))
	in := pipeline.From(p, "in", serde.Avro[reading](reg, serde.Schema(readingSchema)))
	pipeline.To(in, "out", serde.Avro[reading](reg, serde.Schema(readingSchema)))
	return p
}

func registryClient(t *testing.T, url string) *registry.Client {
	t.Helper()
	reg, err := registry.New(registry.Config{URLs: []string{url}, Timeout: time.Second})
	noError(t, err, "registry client")
	return reg
}

func inOutDead(t *testing.T) *cluster {
	return start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1), topic("dlq", 1)}})
}

// A registry that goes down while the pipeline runs makes the partition wait: its
// records are fine, and none becomes a dead letter.
func TestARegistryThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	c := inOutDead(t)
	other := registryClient(t, c.fake.RegistryURL())
	var down atomic.Bool
	c.fake.Registry().Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down.Load()
	})
	cfg := c.config()
	cfg.UntilEnd = false
	cfg.Stats = new(pipeline.Stats)
	r := launch(t, avroPipeline(registryClient(t, c.fake.RegistryURL())), cfg)
	c.Produce(&kgo.Record{Topic: "in", Value: framed(t, other, readingSchema, reading{1})})
	c.Await("the first record", func() bool { return c.positions("copy", "in") == 1 })

	// A second writer schema, which the pipeline has to ask for.
	const wider = `{"type":"record","name":"reading","fields":[{"name":"value","type":"long"},{"name":"unit","type":"string","default":""}]}`
	type wide struct {
		Value int64  `avro:"value"`
		Unit  string `avro:"unit"`
	}
	value := framed(t, other, wider, wide{2, "m"})
	down.Store(true)
	c.Produce(&kgo.Record{Topic: "in", Value: value})
	c.Await("the partition to wait", func() bool { return cfg.Stats.Snapshot().Waiting == 1 })
	if s := cfg.Stats.Snapshot(); s.DeadLetters != 0 || s.Committed != 1 {
		t.Errorf("while the registry is down: %d dead letters and %d committed, want 0 and 1", s.DeadLetters, s.Committed)
	}
	down.Store(false)
	c.Await("the second record", func() bool { return c.positions("copy", "in") == 2 })
	r.stop()
	if s := cfg.Stats.Snapshot(); s.DeadLetters != 0 || s.Outputs != 2 {
		t.Errorf("%d dead letters and %d outputs, want 0 and 2", s.DeadLetters, s.Outputs)
	}
}

// A writer's schema that cannot be resolved to the reader's is everyone's: it
// stops the pipeline, also under a dead-letter policy, and nothing is committed.
func TestASchemaThatCannotBeResolvedStopsThePipeline(t *testing.T) {
	t.Parallel()
	c := inOutDead(t)
	const foreign = `{"type":"record","name":"reading","fields":[{"name":"value","type":"string"}]}`
	type text struct {
		Value string `avro:"value"`
	}
	other := registryClient(t, c.fake.RegistryURL())
	c.Produce(&kgo.Record{Topic: "in", Value: framed(t, other, foreign, text{"one"})})

	err := run(t, avroPipeline(registryClient(t, c.fake.RegistryURL())), c.config())
	wantError(t, err, serde.ErrUnresolvable, "in[0]@0", `stage "in"`)
	if n := c.positions("copy", "in"); n != 0 {
		t.Errorf("position %d is committed, want none", n)
	}
}
