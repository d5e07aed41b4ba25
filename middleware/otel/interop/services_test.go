package interop

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

var (
	propagator = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	silent     = slog.New(slog.NewTextHandler(io.Discard, nil))
	errBad     = errors.New("this order is bad")
)

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	caller  = "00-" + traceID + "-00f067aa0ba902b7-01" // the browser's span
)

// world is a Kafka with topics of one partition, and the services around it, which export
// their spans to the receiver. id begins the names of topics and groups.
type world struct {
	t       testing.TB
	id      string
	brokers []string
	fake    *embedded.Cluster // nil if it is a real one
	client  *checktest.Client
	rec     *receiver
	groups  map[string]string // of services
}

var topics = []string{"orders", "priced", "shipped", "dlq"}

func embeddedWorld(t testing.TB) *world {
	t.Helper()
	var cfg embedded.Config
	for _, name := range topics {
		cfg.Topics = append(cfg.Topics, embedded.Topic{Name: name, Partitions: 1})
	}
	c, err := embedded.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return newWorld(t, c, c.Brokers(), "")
}

func newWorld(t testing.TB, fake *embedded.Cluster, brokers []string, id string) *world {
	t.Helper()
	return &world{t: t, id: id, brokers: brokers, fake: fake, client: checktest.Dial(t, brokers), rec: newReceiver(t), groups: map[string]string{}}
}

// shop is the first service: it writes an order for each request.
func (w *world) shop() *httptest.Server {
	w.t.Helper()
	provider := w.rec.service("shop")
	tracer, err := otel.New(otel.Config{TracerProvider: provider, Propagator: propagator})
	w.noError(err)
	p := w.producer(tracer)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		ctx := propagator.Extract(req.Context(), propagation.HeaderCarrier(req.Header))
		ctx, span := provider.Tracer("shop").Start(ctx, "POST /orders", trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		order, _ := io.ReadAll(req.Body)
		if _, err := p.SendSync(ctx, kafka.Record{Topic: w.id + "orders", Value: order}); err != nil {
			http.Error(rw, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	w.t.Cleanup(server.Close)
	return server
}

func (w *world) producer(tracer *otel.Tracer) *kafka.Producer {
	w.t.Helper()
	p, err := kafka.NewProducer(w.t.Context(), kafka.ProducerSettings{
		Brokers: w.brokers, Logger: silent, Interceptors: []kafka.Interceptor{tracer.ProducerInterceptor()},
	})
	w.noError(err)
	w.t.Cleanup(func() { _ = p.Close(context.Background()) })
	return p
}

// order is a browser's request, within its own trace.
func (w *world) order(shop *httptest.Server, value string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, shop.URL, strings.NewReader(value))
	w.noError(err)
	req.Header.Set("traceparent", caller)
	req.Header.Set("baggage", "campaign=spring")
	res, err := http.DefaultClient.Do(req)
	w.noError(err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		w.t.Fatal(res.Status)
	}
}

// feed writes orders, each with a context of its caller.
func (w *world) feed(values ...string) {
	w.t.Helper()
	var all []*kgo.Record
	for _, v := range values {
		all = append(all, &kgo.Record{Topic: w.id + "orders", Value: []byte(v), Headers: []kgo.RecordHeader{{Key: "traceparent", Value: []byte(caller)}}})
	}
	w.client.Produce(all...)
}

// prices are what the second service looks up.
var prices = stages.TableFunc[string, string](func(_ context.Context, key string) (string, bool, error) {
	return "7", true, nil
})

// run is a service that runs a pipeline to the end of its input: it looks every value up
// and refuses bad ones.
func (w *world) run(service, from, to string, relation otel.Relation, opts ...pipeline.Option) pipeline.Snapshot {
	w.t.Helper()
	name := w.id + service
	w.groups[service] = name
	tracer, err := otel.New(otel.Config{TracerProvider: w.rec.service(service), Propagator: propagator, Relation: relation, Group: name})
	w.noError(err)
	p := pipeline.New(name, append([]pipeline.Option{tracer.Middleware()}, opts...)...)
	in := stages.Check(pipeline.From(p, w.id+from, serde.String()), "check", func(v string) error {
		if v == "bad" {
			return errBad
		}
		return nil
	})
	priced := stages.Enrich(in, "price", func(v string) string { return v }, otel.TraceTable(tracer, "prices", prices),
		func(v, price string) string { return v + " " + price })
	pipeline.To(priced, w.id+to, serde.String())

	return w.runPipeline(p, tracer)
}

func (w *world) runPipeline(p *pipeline.Pipeline, tracer *otel.Tracer) pipeline.Snapshot {
	w.t.Helper()
	var stats pipeline.Stats
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	w.noError(kafka.Run(ctx, p, kafka.Config{
		Brokers: w.brokers, CommitInterval: 50 * time.Millisecond, UntilEnd: true, Stats: &stats, Logger: silent,
		HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 6 * time.Second, Interceptors: []kafka.Interceptor{tracer.Interceptor(p)},
	}))
	s := stats.Snapshot()
	if s.InterceptorFailures != 0 {
		w.t.Errorf("%d failures of the interceptor", s.InterceptorFailures)
	}
	return s
}

func (w *world) noError(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// received are the spans, with the names of topics as they are without the world's id.
func (w *world) received() spans {
	w.t.Helper()
	all := w.rec.received()
	conforms(w.t, all, w.groups)
	for i := range all {
		all[i].Name = strings.Replace(all[i].Name, " "+w.id, " ", 1)
	}
	return all
}
