//go:build real && unix

package serde_test

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

type sample struct {
	N int64 `avro:"n"`
}

// The versions of the schema, of which each can be read as the first.
var sampleVersions = []string{
	`{"type":"record","name":"sample","fields":[{"name":"n","type":"long"}]}`,
	`{"type":"record","name":"sample","fields":[{"name":"n","type":"long"},{"name":"a","type":"long","default":0}]}`,
	`{"type":"record","name":"sample","fields":[{"name":"n","type":"long"},{"name":"b","type":"long","default":0}]}`,
}

// A registry that freezes, and one that is stopped and started, during a run: what is written
// with a schema that the pipeline knows goes on, what is written with another one waits and
// comes afterwards, in order, once, and nothing becomes a dead letter.
func TestRealRegistryOutage(t *testing.T) {
	o := newOutage(t)
	const n = 50
	o.produce(n, 0)
	o.launch()
	o.await("what came before", n)

	o.signal(syscall.SIGSTOP)
	o.produce(n, 0)
	o.await("known schemas while the registry is frozen", 2*n)
	o.produce(1, 1)
	o.produce(n, 0)
	o.waits("the registry is frozen", 2*n)
	o.signal(syscall.SIGCONT)
	o.await("what waited for the frozen registry", 3*n+1)

	o.proxy.cut(true)
	o.script("registry-stop")
	o.produce(n, 1)
	o.await("known schemas while there is no registry", 4*n+1)
	o.produce(1, 2)
	o.produce(n, 1)
	o.waits("there is no registry", 4*n+1)
	o.script("registry-start")
	o.register() // its memory was its storage; until this is done it would know no schema
	o.proxy.cut(false)
	o.await("what waited for the stopped registry", 5*n+2)

	o.stop()
	o.check(5*n + 2)
}

// outage is a pipeline and a registry of its own, with a proxy between them.
type outage struct {
	t     *testing.T
	topic string
	k     *checktest.Client
	stats *pipeline.Stats
	proxy *proxy
	port  int
	url   string
	ids   []int
	next  int64
	stop  func()
}

func newOutage(t *testing.T) *outage {
	shared, topic := realRegistry(t)
	u, err := url.Parse(shared)
	check(t, err)
	port, err := strconv.Atoi(u.Port())
	check(t, err)
	o := &outage{t: t, topic: topic, stats: new(pipeline.Stats), port: port + 20, k: checktest.Dial(t, realBrokers(t))}
	for _, name := range []string{topic + "-in", topic, topic + "-dlq"} {
		o.k.CreateTopic(name, 1, nil)
	}
	o.script("registry-stop")
	t.Cleanup(func() { o.script("registry-stop") })
	o.url = o.script("registry-start")
	o.register()
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(o.port))
	o.proxy = startProxy(t, at)
	return o
}

// script runs one that starts or stops the registry.
func (o *outage) script(name string) string {
	o.t.Helper()
	c := exec.Command(filepath.Join("..", "scripts", name))
	c.Env = append(os.Environ(), "LEAT_REGISTRY_PORT="+strconv.Itoa(o.port))
	c.WaitDelay = time.Second // the server that it leaves behind must not be waited for
	out, err := c.Output()
	if err != nil {
		o.t.Fatalf("%s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// signal signals the registry's process.
func (o *outage) signal(s syscall.Signal) {
	o.t.Helper()
	cache := os.Getenv("LEAT_CACHE")
	if cache == "" {
		dir, err := os.UserCacheDir()
		check(o.t, err)
		cache = filepath.Join(dir, "leat")
	}
	pid, err := os.ReadFile(filepath.Join(cache, "registry-"+strconv.Itoa(o.port), "pid"))
	check(o.t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	check(o.t, err)
	check(o.t, syscall.Kill(n, s))
	if s == syscall.SIGSTOP { // or it could not be stopped if the test fails before it goes on
		o.t.Cleanup(func() { _ = syscall.Kill(n, syscall.SIGCONT) })
	}
}

// register registers all versions, always under the same ids.
func (o *outage) register() {
	o.t.Helper()
	reg := newClient(o.t, o.url)
	var ids []int
	for _, avsc := range sampleVersions {
		id, err := reg.Register(o.t.Context(), o.topic+"-in-value", registry.Schema{Text: avsc})
		check(o.t, err)
		ids = append(ids, id)
	}
	for i, id := range o.ids {
		if ids[i] != id {
			o.t.Fatalf("registered anew the schemas have the ids %v, not %v", ids, o.ids)
		}
	}
	o.ids = ids
}

// produce writes n samples in a version of the schema, by hand: the registry may be away.
func (o *outage) produce(n, version int) {
	o.t.Helper()
	var records []*kgo.Record
	for range n {
		value := []byte{0, 0, 0, byte(o.ids[version] >> 8), byte(o.ids[version])}
		value = append(value, long(o.next)...)
		if version > 0 {
			value = append(value, 0)
		}
		records = append(records, &kgo.Record{Topic: o.topic + "-in", Value: value})
		o.next++
	}
	o.k.Produce(records...)
}

// long is a number below 2^13 in Avro.
func long(n int64) []byte {
	if n < 64 {
		return []byte{byte(n << 1)}
	}
	return []byte{byte(n<<1) | 0x80, byte(n >> 6)}
}

func (o *outage) launch() {
	reg, err := registry.New(registry.Config{URLs: []string{o.proxy.through(o.url)}, Timeout: 300 * time.Millisecond})
	check(o.t, err)
	samples := func() serde.Serde[sample] { return serde.Avro[sample](reg, serde.Schema(sampleVersions[0])) }
	p := pipeline.New(o.topic, pipeline.DeadLetter(o.topic+"-dlq"))
	pipeline.To(pipeline.From(p, o.topic+"-in", samples()), o.topic, samples())
	ctx, cancel := context.WithCancel(o.t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- kafka.Run(ctx, p, kafka.Config{
			Brokers: realBrokers(o.t), Group: o.topic, Stats: o.stats, Logger: slog.New(slog.DiscardHandler),
		})
	}()
	o.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			o.t.Errorf("run: %v", err)
		}
	})
	o.t.Cleanup(o.stop)
}

// await waits until so many records are committed and seen by a reader.
func (o *outage) await(what string, records int64) {
	o.t.Helper()
	o.k.Await(what, func() bool { return o.stats.Snapshot().Committed >= records })
	if s := o.stats.Snapshot(); s.Committed != records || s.DeadLetters != 0 || s.Skipped != 0 {
		o.t.Fatalf("%s: %d records committed, %d dead letters, %d skipped, want %d and none", what, s.Committed, s.DeadLetters, s.Skipped, records)
	}
}

// waits checks that the pipeline waits, still so after it has asked several times.
func (o *outage) waits(why string, committed int64) {
	o.t.Helper()
	o.k.Await("the pipeline to wait: "+why, func() bool { return o.stats.Snapshot().Waiting == 1 })
	asked := o.proxy.opened()
	o.k.Await("it to ask again: "+why, func() bool { return o.proxy.opened() >= asked+3 })
	o.await("while "+why, committed)
}

// check compares the output with what was produced.
func (o *outage) check(n int) {
	o.t.Helper()
	if dead := o.k.ReadAll(o.topic + "-dlq"); len(dead) != 0 {
		o.t.Errorf("%d dead letters", len(dead))
	}
	out := o.k.ReadAll(o.topic)
	if len(out) != n {
		o.t.Errorf("%d records in the output, want %d", len(out), n)
	}
	reader := serde.Avro[sample](newClient(o.t, o.url), serde.Schema(sampleVersions[0]))
	for i, r := range out {
		v, err := reader.Decode(o.t.Context(), value(o.topic), r.Value)
		check(o.t, err)
		if v.N != int64(i) {
			o.t.Fatalf("record %d of the output is number %d", i, v.N)
		}
	}
}
