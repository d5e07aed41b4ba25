package otel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/pipeline"
)

// MeterConfig configures a [Meter]. The zero value works.
type MeterConfig struct {
	// MeterProvider makes the instruments. Default: the global one, as of NewMeter.
	MeterProvider metric.MeterProvider
	// Group is the consumer group, for the attribute messaging.consumer.group.name of
	// the conventions' metrics. Default: the attribute is left out.
	Group string
}

// Meter measures pipelines: it is a [pipeline.Observer], for kafka.Config.Observers. One
// serves any number of pipelines and runs, one after the other and at once; those of one
// pipeline's name are added. docs/observability has all its metrics.
//
// Counters and gauges are read from the run's Snapshot when the SDK collects; nothing of
// theirs is on the way of a record, and a collection takes some tens of microseconds for
// each run. Histograms are told once for each hand-over of some hundred records, and once
// for each transaction, with attributes that are made when a run starts.
//
// What a run has counted stays in the counters after its end, so that those of a pipeline
// that is run again only grow. Its methods may be called from any goroutine.
type Meter struct {
	cfg   MeterConfig
	runs  instruments.Runs
	read  metric.Registration
	known sync.Map // *pipeline.Running to *runAttributes

	numbers map[*instruments.Instrument]metric.Int64Observable
	seconds map[*instruments.Instrument]metric.Float64Observable

	recordTime, transactionTime, committing metric.Float64Histogram
	transactionRecords, transactionSize     metric.Int64Histogram
	conventions
}

// NewMeter makes the instruments.
func NewMeter(cfg MeterConfig) (*Meter, error) {
	if cfg.MeterProvider == nil {
		cfg.MeterProvider = otel.GetMeterProvider()
	}
	m := &Meter{
		cfg: cfg, numbers: map[*instruments.Instrument]metric.Int64Observable{}, seconds: map[*instruments.Instrument]metric.Float64Observable{},
	}
	meter := cfg.MeterProvider.Meter(scope, metric.WithSchemaURL(schemaURL))
	read, err := m.make(meter)
	if err == nil {
		m.read, err = meter.RegisterCallback(m.observe, read...)
	}
	if err != nil {
		return nil, fmt.Errorf("otel.NewMeter: %w", err)
	}
	return m, nil
}

// Close ends the reading of counters and gauges. It is for programs that go on without the
// Meter: close it after the provider's last export, or not at all.
func (m *Meter) Close() error { return m.read.Unregister() }

// make makes the instruments and returns those that are read.
func (m *Meter) make(meter metric.Meter) (read []metric.Observable, err error) {
	var bad []error
	for _, i := range instruments.All {
		if i.Kind == instruments.Histogram {
			continue
		}
		if i.Seconds() {
			m.seconds[i], err = observedSeconds(meter, i)
			read = append(read, m.seconds[i])
		} else {
			m.numbers[i], err = observedNumber(meter, i)
			read = append(read, m.numbers[i])
		}
		bad = append(bad, err)
	}
	for i, h := range map[*instruments.Instrument]*metric.Float64Histogram{
		instruments.RecordDuration: &m.recordTime, instruments.TransactionDuration: &m.transactionTime, instruments.TransactionCommitting: &m.committing,
	} {
		*h, err = meter.Float64Histogram(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help), metric.WithExplicitBucketBoundaries(i.Bounds...))
		bad = append(bad, err)
	}
	for i, h := range map[*instruments.Instrument]*metric.Int64Histogram{
		instruments.TransactionRecords: &m.transactionRecords, instruments.TransactionSize: &m.transactionSize,
	} {
		*h, err = meter.Int64Histogram(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help), metric.WithExplicitBucketBoundaries(i.Bounds...))
		bad = append(bad, err)
	}
	conventional, err := m.conventions.make(meter)
	return append(read, conventional...), errors.Join(append(bad, err)...)
}

func observedSeconds(meter metric.Meter, i *instruments.Instrument) (metric.Float64Observable, error) {
	unit, help := metric.WithUnit(i.Unit), metric.WithDescription(i.Help)
	switch i.Kind {
	case instruments.Counter:
		return meter.Float64ObservableCounter(i.Name, unit, help)
	case instruments.UpDown:
		return meter.Float64ObservableUpDownCounter(i.Name, unit, help)
	default:
		return meter.Float64ObservableGauge(i.Name, unit, help)
	}
}

func observedNumber(meter metric.Meter, i *instruments.Instrument) (metric.Int64Observable, error) {
	unit, help := metric.WithUnit(i.Unit), metric.WithDescription(i.Help)
	switch i.Kind {
	case instruments.Counter:
		return meter.Int64ObservableCounter(i.Name, unit, help)
	case instruments.UpDown:
		return meter.Int64ObservableUpDownCounter(i.Name, unit, help)
	default:
		return meter.Int64ObservableGauge(i.Name, unit, help)
	}
}

// observe is called at each collection.
func (m *Meter) observe(_ context.Context, o metric.Observer) error {
	for _, f := range m.runs.Collect() {
		if f.Kind == instruments.Histogram {
			continue
		}
		seconds, number := m.seconds[f.Instrument], m.numbers[f.Instrument]
		for i := range f.Points {
			p := &f.Points[i]
			attrs := metric.WithAttributeSet(attributesOf(f.Instrument, p.Labels))
			if f.Seconds() {
				o.ObserveFloat64(seconds, p.Value, attrs)
			} else {
				o.ObserveInt64(number, int64(p.Value), attrs)
			}
			m.observeConventional(o, f.Instrument, p)
		}
	}
	return nil
}

func attributesOf(i *instruments.Instrument, labels []string) attribute.Set {
	kv := []attribute.KeyValue{attribute.String(instruments.Pipeline, labels[0])}
	for k, name := range i.Labels {
		kv = append(kv, attribute.String(name, labels[k+1]))
	}
	return attribute.NewSet(kv...)
}

// runAttributes are those of one run's histograms.
type runAttributes struct {
	pipeline []metric.RecordOption
	outcome  [pipeline.OutcomeUnknown + 1][]metric.RecordOption
	topics   map[string][]metric.RecordOption // messaging.process.duration
}

func recordWith(kv ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(kv...))}
}

// RunStarted begins to read a run.
func (m *Meter) RunStarted(r *pipeline.Running) {
	name := attribute.String(instruments.Pipeline, r.Pipeline.Name())
	a := &runAttributes{pipeline: recordWith(name), topics: map[string][]metric.RecordOption{}}
	for i := range a.outcome {
		a.outcome[i] = recordWith(name, attribute.String(instruments.Outcome, pipeline.Outcome(i).String()))
	}
	for _, topic := range r.Pipeline.Inputs() {
		a.topics[topic] = recordWith(m.processAttributes(name, topic)...)
	}
	m.known.Store(r, a)
	m.runs.RunStarted(r)
}

// RunEnded reads it for the last time.
func (m *Meter) RunEnded(r *pipeline.Running, err error) {
	m.runs.RunEnded(r, err)
	m.known.Delete(r)
}

// Processed records how long records took.
func (m *Meter) Processed(r *pipeline.Running, topic string, took []time.Duration) {
	known, ok := m.known.Load(r)
	if !ok {
		return
	}
	a, ctx := known.(*runAttributes), context.Background()
	for _, d := range took {
		m.recordTime.Record(ctx, d.Seconds(), a.pipeline...)
		m.processTime.Inst().Record(ctx, d.Seconds(), a.topics[topic]...)
	}
}

// TransactionEnded records how long a transaction took and how large it was.
func (m *Meter) TransactionEnded(r *pipeline.Running, t pipeline.TransactionEnd) {
	known, ok := m.known.Load(r)
	if !ok {
		return
	}
	a, ctx := known.(*runAttributes), context.Background()
	of := a.outcome[min(t.Outcome, pipeline.OutcomeUnknown)]
	m.transactionTime.Record(ctx, t.Took.Seconds(), of...)
	m.committing.Record(ctx, t.Committing.Seconds(), of...)
	m.transactionRecords.Record(ctx, t.Records, of...)
	m.transactionSize.Record(ctx, t.Bytes, of...)
	m.recordCommit(ctx, r.Pipeline.Name(), t)
}
