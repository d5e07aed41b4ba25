package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// shop takes orders over HTTP and gives them their prices.
type shop struct {
	brokers  []string
	spans    *sdk.TracerProvider
	tracer   *otel.Tracer
	producer *kafka.Producer
	orders   *kafka.Typed[order]
	server   *httptest.Server
}

func newShop(ctx context.Context, brokers []string, spans *sdk.TracerProvider) (*shop, error) {
	tracer, err := otel.New(otel.Config{TracerProvider: spans, Propagator: propagator, Relation: otel.Child, Group: "pricing"})
	if err != nil {
		return nil, err
	}
	producer, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: brokers, Logger: quiet, Interceptors: []kafka.Interceptor{tracer.ProducerInterceptor()},
	})
	if err != nil {
		return nil, err
	}
	s := &shop{brokers: brokers, spans: spans, tracer: tracer, producer: producer, orders: kafka.For(producer, "orders", serde.JSON[order]())}
	s.server = httptest.NewServer(http.HandlerFunc(s.order))
	return s, nil
}

func (s *shop) url() string { return s.server.URL + "/orders" }

// order is the handler. Usually otelhttp makes its span; the producer's is below it since
// the context goes along.
func (s *shop) order(w http.ResponseWriter, req *http.Request) {
	ctx := propagator.Extract(req.Context(), propagation.HeaderCarrier(req.Header))
	ctx, span := s.spans.Tracer("shop").Start(ctx, "POST /orders", trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	o, err := serde.JSON[order]().Decode(ctx, pipeline.Slot{Topic: "orders"}, body(req))
	if err != nil {
		http.Error(w, "no order", http.StatusBadRequest)
		return
	}
	if _, err := s.orders.SendSync(ctx, o); err != nil {
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

func body(req *http.Request) []byte {
	const most = 1 << 16
	b, _ := io.ReadAll(io.LimitReader(req.Body, most)) // half of an order cannot be decoded
	return b
}

var prices = stages.NewMap(map[string]int{"tea": 7})

// run gives orders their prices until ctx ends.
func (s *shop) run(ctx context.Context) error {
	p := pipeline.New("pricing", s.tracer.Middleware())
	orders := pipeline.From(p, "orders", serde.JSON[order]())
	priced := stages.Enrich(orders, "price", func(o order) string { return o.Item }, otel.TraceTable(s.tracer, "prices", prices),
		func(o order, price int) order { o.Price = price; return o })
	pipeline.To(priced, "priced", serde.JSON[order]())
	return kafka.Run(ctx, p, config(s.brokers, s.tracer.Interceptor(p)))
}

func config(brokers []string, tracing kafka.Interceptor) kafka.Config {
	return kafka.Config{Brokers: brokers, Logger: quiet, HeartbeatInterval: 100 * time.Millisecond, Interceptors: []kafka.Interceptor{tracing}}
}

func (s *shop) close(ctx context.Context) error {
	s.server.Close()
	return s.producer.Close(ctx)
}
