package otel_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/IBM/sarama"
	"go.opentelemetry.io/otel/propagation"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
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
