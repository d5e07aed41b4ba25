//go:build unix

package main

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// subject is what costs something.
type subject struct {
	name string
	// sampled says whether the records come with a sampled context, also in runs without.
	sampled bool
	// intercepts says that it has an interceptor. Runs without have one, too, that does
	// nothing: what this program takes to call it is nobody's cost.
	intercepts bool
	with       func() (*attachment, error)
}

// attachment is what it adds to a run.
type attachment struct {
	options     []pipeline.Option
	observers   []pipeline.Observer
	interceptor func(*pipeline.Pipeline) kafka.HeadersInterceptor
	close       func() error
}

var subjects = []subject{
	{name: "metrics", with: metrics},
	{name: "sampled-out", intercepts: true, with: tracing(otel.SampledRecords)},
	{name: "batch-spans", sampled: true, intercepts: true, with: tracing(otel.NoRecords)},
}

// idle is an interceptor that does nothing.
type idle struct{ kafka.InterceptorFuncs }

func (idle) OnAcknowledgementHeaders(kafka.Result, pipeline.Headers, error) {}

// metrics are the meter's, exported every second and at the end.
func metrics() (*attachment, error) {
	reader := metric.NewPeriodicReader(discard{}, metric.WithInterval(time.Second))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	meter, err := otel.NewMeter(otel.MeterConfig{MeterProvider: provider, Group: "bench"})
	if err != nil {
		return nil, err
	}
	return &attachment{
		observers: []pipeline.Observer{meter},
		close:     func() error { return provider.Shutdown(context.Background()) },
	}, nil
}

// tracing samples all that it begins: what the records came with decides.
func tracing(records otel.Records) func() (*attachment, error) {
	return func() (*attachment, error) {
		provider := trace.NewTracerProvider(trace.WithBatcher(discard{}), trace.WithSampler(trace.AlwaysSample()))
		tracer, err := otel.New(otel.Config{
			TracerProvider: provider, Propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{}), Records: records, Group: "bench",
		})
		if err != nil {
			return nil, err
		}
		return &attachment{
			options:     []pipeline.Option{tracer.Middleware()},
			interceptor: tracer.Interceptor,
			close:       func() error { return provider.Shutdown(context.Background()) },
		}, nil
	}
}

// discard exports to nowhere.
type discard struct{}

func (discard) Temporality(metric.InstrumentKind) metricdata.Temporality {
	return metricdata.CumulativeTemporality
}
func (discard) Aggregation(k metric.InstrumentKind) metric.Aggregation {
	return metric.DefaultAggregationSelector(k)
}
func (discard) Export(context.Context, *metricdata.ResourceMetrics) error { return nil }
func (discard) ExportSpans(context.Context, []trace.ReadOnlySpan) error   { return nil }
func (discard) ForceFlush(context.Context) error                          { return nil }
func (discard) Shutdown(context.Context) error                            { return nil }

// acknowledging tells an interceptor of every output and transaction, as the sink in
// sinks/kafka does; the one of pipelinetest has nobody to tell.
type acknowledging struct {
	pipeline.TransactionalSink
	interceptor kafka.HeadersInterceptor

	mu   sync.Mutex
	sent []pipeline.Output
}

func (s *acknowledging) Send(ctx context.Context, outputs []pipeline.Output) error {
	s.mu.Lock()
	s.sent = append(s.sent, outputs...)
	s.mu.Unlock()
	return s.TransactionalSink.Send(ctx, outputs)
}

func (s *acknowledging) Commit(ctx context.Context) error {
	err := s.TransactionalSink.Commit(ctx)
	for i := range s.sent {
		o := &s.sent[i]
		s.interceptor.OnAcknowledgementHeaders(kafka.Result{Topic: o.Topic, Timestamp: o.Timestamp}, o.Headers, err)
	}
	clear(s.sent)
	s.sent = s.sent[:0]
	if t, ok := s.interceptor.(kafka.TransactionInterceptor); ok {
		t.OnTransactionEnd(err)
	}
	return err
}
