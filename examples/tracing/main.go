// Command tracing follows one order through two services and prints its trace: an HTTP
// request writes it to Kafka, a pipeline gives it its price, and a pipeline of another
// service ships it. Kafka runs in this process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/leat-stream/leat/embedded"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// order is what is sent.
type order struct {
	Item  string `json:"item"`
	Price int    `json:"price,omitempty"`
}

// propagator says how a context travels: in W3C's headers, of HTTP and of Kafka alike.
var propagator = propagation.TraceContext{}

// provider is where a service's spans go. Here it is the memory of this program; a service
// has an exporter for OTLP, go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp,
// in its place, and WithBatcher.
func provider(service string, spans sdk.SpanExporter) *sdk.TracerProvider {
	return sdk.NewTracerProvider(sdk.WithSyncer(spans), sdk.WithResource(resource.NewSchemaless(semconv.ServiceName(service))))
}

func run(ctx context.Context, out io.Writer) error {
	cluster, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "orders"}, {Name: "priced"}, {Name: "shipped"}}})
	if err != nil {
		return err
	}
	defer cluster.Close()

	spans := tracetest.NewInMemoryExporter()
	shopSpans, shippingSpans := provider("shop", spans), provider("shipping", spans)
	defer shopSpans.Shutdown(ctx) // writes what an exporter has not written yet
	defer shippingSpans.Shutdown(ctx)
	shop, err := newShop(ctx, cluster.Brokers(), shopSpans)
	if err != nil {
		return err
	}
	shipping, err := newShipping(cluster.Brokers(), shippingSpans)
	if err != nil {
		return errors.Join(err, shop.close(ctx))
	}
	services, stop := context.WithCancel(ctx)
	var failed [2]error
	var running sync.WaitGroup
	running.Go(func() { failed[0] = shop.run(services) })
	running.Go(func() { failed[1] = shipping.run(services) })

	err = post(ctx, shop.url(), `{"item": "tea"}`)
	if err == nil {
		err = shipping.await(ctx)
	}
	stop() // in order: what was processed is committed
	running.Wait()
	if err := errors.Join(err, failed[0], failed[1], shop.close(ctx)); err != nil {
		return err
	}
	return printTrace(out, spans.GetSpans())
}

func post(ctx context.Context, url, order string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(order))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the shop answers %s", res.Status)
	}
	return nil
}
