package otel_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// A record that comes with a sampled context, and the spans of its way. A service has an
// exporter of its own here, and global providers or these.
func Example() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	tracer, err := otel.New(otel.Config{
		TracerProvider: provider, Propagator: propagation.TraceContext{}, Relation: otel.Child, Group: "copies",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := pipeline.New("copies", tracer.Middleware())
	pipeline.To(pipeline.From(p, "words", serde.String()), "copies", serde.String())

	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "words", Partitions: 1}, {Name: "copies", Partitions: 1}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	if err := write(cluster.Brokers(), "words", "mill", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"); err != nil {
		fmt.Println(err)
		return
	}
	err = kafka.Run(context.Background(), p, kafka.Config{
		Brokers: cluster.Brokers(), UntilEnd: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Interceptors: []kafka.Interceptor{tracer.Interceptor(p)},
	})
	fmt.Println("error:", err)
	for _, s := range exporter.GetSpans() {
		fmt.Println(s.SpanKind, s.Name, "in the message's trace:", s.SpanContext.TraceID().String() == "4bf92f3577b34da6a3ce929d0e0e4736")
	}
	// Output:
	// error: <nil>
	// consumer process words in the message's trace: true
	// producer send copies in the message's trace: true
	// client commit words in the message's trace: false
	// internal transaction in the message's trace: false
}

// A look-up belongs to the trace of its record. The records come from memory here.
func ExampleTraceTable() {
	exporter := tracetest.NewInMemoryExporter()
	tracer, err := otel.New(otel.Config{
		TracerProvider: sdk.NewTracerProvider(sdk.WithSyncer(exporter)), Propagator: propagation.TraceContext{}, Relation: otel.Child,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := pipeline.New("greetings", tracer.Middleware())
	names := stages.NewMap(map[string]string{"a": "Anna"})
	greeted := stages.Enrich(pipeline.From(p, "in", serde.String()), "name", func(v string) string { return v },
		otel.TraceTable(tracer, "names", names), func(_, name string) string { return "hello " + name })
	pipeline.To(greeted, "out", serde.String())

	c := pipelinetest.For(p)
	c.Feed("in", pipelinetest.Text("", "a").Header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"))
	source, sink := c.Ends()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- pipeline.Run(ctx, p, source, sink) }()
	if err := c.AwaitFinished(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	stop()
	if err := <-done; err != nil {
		fmt.Println(err)
	}
	for _, s := range exporter.GetSpans() {
		fmt.Println(s.SpanKind, s.Name, s.SpanContext.TraceID())
	}
	// Output:
	// internal lookup names 4bf92f3577b34da6a3ce929d0e0e4736
	// consumer process in 4bf92f3577b34da6a3ce929d0e0e4736
}

// What a producer sends within a span is its child, and carries its trace.
func ExampleTracer_ProducerInterceptor() {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	tracer, err := otel.New(otel.Config{TracerProvider: provider, Propagator: propagation.TraceContext{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "orders"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer cluster.Close()
	ctx := context.Background()
	producer, err := kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: cluster.Brokers(), Interceptors: []kafka.Interceptor{tracer.ProducerInterceptor()},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer producer.Close(ctx)

	ctx, request := provider.Tracer("shop").Start(ctx, "POST /orders")
	_, err = producer.SendSync(ctx, kafka.Record{Topic: "orders", Value: []byte("tea")})
	request.End()
	fmt.Println("error:", err)
	spans := exporter.GetSpans()
	for _, s := range spans {
		fmt.Println(s.SpanKind, s.Name)
	}
	fmt.Println("child:", spans[0].Parent.SpanID() == request.SpanContext().SpanID())
	// Output:
	// error: <nil>
	// producer send orders
	// internal POST /orders
	// child: true
}

func ExampleNewLogHandler() {
	text := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{} // another one each time
		}
		return a
	}})
	log := slog.New(otel.NewLogHandler(text)).WithGroup("order")
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{
		"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	})
	log.InfoContext(ctx, "shipped", "boxes", 2)
	log.Info("closing")
	// Output:
	// level=INFO msg=shipped trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7 order.boxes=2
	// level=INFO msg=closing
}

func ExampleConfig_Validate() {
	fmt.Println(otel.Config{MaxOpenSendBytes: -1}.Validate())
	// Output:
	// invalid configuration: otel.Config:
	// MaxOpenSendBytes must not be negative
}

func write(brokers []string, topic, value, traceparent string) error {
	cfg := sarama.NewConfig()
	cfg.Producer.Return.Successes = true
	producer, err := sarama.NewSyncProducer(brokers, cfg)
	if err != nil {
		return err
	}
	defer producer.Close()
	_, _, err = producer.SendMessage(&sarama.ProducerMessage{
		Topic: topic, Value: sarama.StringEncoder(value), Headers: []sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte(traceparent)}},
	})
	return err
}
