package otel_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-stream/leat/internal/instruments"
	"github.com/leat-stream/leat/middleware/otel"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// metering is a meter that a test reads.
type metering struct {
	*otel.Meter
	reader *sdk.ManualReader
}

func newMetering(t testing.TB, cfg otel.MeterConfig) *metering {
	t.Helper()
	m := &metering{reader: sdk.NewManualReader()}
	provider := sdk.NewMeterProvider(sdk.WithReader(m.reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	cfg.MeterProvider = provider
	var err error
	if m.Meter, err = otel.NewMeter(cfg); err != nil {
		t.Fatal(err)
	}
	return m
}

// series are all data points as Prometheus would have them, with the names of
// OpenTelemetry's exporter; a histogram has its count and its sum.
func (m *metering) series(t testing.TB) map[string]float64 {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := m.reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	for _, scope := range data.ScopeMetrics {
		for _, x := range scope.Metrics {
			name := func(kind otlptranslator.MetricType, attrs attribute.Set) string {
				n, err := namer.Build(otlptranslator.Metric{Name: x.Name, Unit: x.Unit, Type: kind})
				if err != nil || x.Description == "" {
					t.Errorf("%s: %v, description %q", x.Name, err, x.Description)
				}
				return n + labelsOf(attrs)
			}
			switch d := x.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range d.DataPoints {
					all[name(sumType(d.IsMonotonic), p.Attributes)] = float64(p.Value)
				}
			case metricdata.Sum[float64]:
				for _, p := range d.DataPoints {
					all[name(sumType(d.IsMonotonic), p.Attributes)] = p.Value
				}
			case metricdata.Gauge[int64]:
				for _, p := range d.DataPoints {
					all[name(otlptranslator.MetricTypeGauge, p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range d.DataPoints {
					all[name(otlptranslator.MetricTypeGauge, p.Attributes)] = p.Value
				}
			case metricdata.Histogram[int64]:
				for _, p := range d.DataPoints {
					id := name(otlptranslator.MetricTypeHistogram, p.Attributes)
					all[id], all[id+" sum"] = float64(p.Count), float64(p.Sum)
				}
			case metricdata.Histogram[float64]:
				for _, p := range d.DataPoints {
					id := name(otlptranslator.MetricTypeHistogram, p.Attributes)
					all[id], all[id+" sum"] = float64(p.Count), p.Sum
				}
			default:
				t.Errorf("%s is a %T", x.Name, x.Data)
			}
		}
	}
	return all
}

func sumType(monotonic bool) otlptranslator.MetricType {
	if monotonic {
		return otlptranslator.MetricTypeMonotonicCounter
	}
	return otlptranslator.MetricTypeNonMonotonicCounter
}

func labelsOf(attrs attribute.Set) string {
	var all []string
	for _, kv := range attrs.ToSlice() {
		all = append(all, strings.ReplaceAll(string(kv.Key), ".", "_")+"="+kv.Value.String())
	}
	slices.Sort(all)
	return "{" + strings.Join(all, ",") + "}"
}

// scraped is the text for Prometheus, read by its parser.
func scraped(t testing.TB, runs *instruments.Runs) map[string]float64 {
	t.Helper()
	var text bytes.Buffer
	if err := runs.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&text)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			id := name + labelsOf(attributesOf(m.GetLabel()))
			switch {
			case m.GetHistogram() != nil:
				all[id], all[id+" sum"] = float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()
			case m.GetCounter() != nil:
				all[id] = m.GetCounter().GetValue()
			default:
				all[id] = m.GetGauge().GetValue()
			}
		}
	}
	return all
}

func attributesOf(pairs []*io_prometheus_client.LabelPair) attribute.Set {
	var kv []attribute.KeyValue
	for _, p := range pairs {
		kv = append(kv, attribute.String(p.GetName(), p.GetValue()))
	}
	return attribute.NewSet(kv...)
}
