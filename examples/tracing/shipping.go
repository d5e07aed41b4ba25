package main

import (
	"context"
	"sync"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// shipping ships what has a price.
type shipping struct {
	brokers []string
	tracer  *otel.Tracer
	once    sync.Once
	shipped chan struct{}
}

func newShipping(brokers []string, spans *sdk.TracerProvider) (*shipping, error) {
	tracer, err := otel.New(otel.Config{TracerProvider: spans, Propagator: propagator, Relation: otel.Child, Group: "shipping"})
	return &shipping{brokers: brokers, tracer: tracer, shipped: make(chan struct{})}, err
}

// run ships until ctx ends.
func (s *shipping) run(ctx context.Context) error {
	p := pipeline.New("shipping", s.tracer.Middleware())
	priced := pipeline.From(p, "priced", serde.JSON[order]())
	pipeline.To(stages.Peek(priced, "ship", s.ship), "shipped", serde.JSON[order]())
	return kafka.Run(ctx, p, config(s.brokers, s.tracer.Interceptor(p)))
}

func (s *shipping) ship(order) { s.once.Do(func() { close(s.shipped) }) }

// await waits for the first order.
func (s *shipping) await(ctx context.Context) error {
	select {
	case <-s.shipped:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
