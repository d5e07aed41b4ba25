package otel_test

import (
	"context"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// The metrics of a run. A service has a reader with an exporter in the place of this one,
// and gives the meter to kafka.Config.Observers.
func ExampleNewMeter() {
	reader := sdk.NewManualReader()
	meter, err := otel.NewMeter(otel.MeterConfig{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader))})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := pipeline.New("short-words")
	short := stages.Filter(pipeline.From(p, "words", serde.String()), "short", func(v string) bool { return len(v) < 5 })
	pipeline.To(short, "short-words", serde.String())

	c := pipelinetest.For(p)
	c.Feed("words", pipelinetest.Text("a", "leat"), pipelinetest.Text("b", "water"), pipelinetest.Text("c", "mill"))
	if err := c.Run(context.Background(), p, pipelinetest.Engine(pipeline.Observers(meter))); err != nil {
		fmt.Println(err)
	}
	var data metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &data); err != nil {
		fmt.Println(err)
	}
	for _, m := range data.ScopeMetrics[0].Metrics {
		if m.Name != "leat.stage.records.out" && m.Name != "leat.stage.records.dropped" {
			continue
		}
		for _, point := range m.Data.(metricdata.Sum[int64]).DataPoints {
			if stage, _ := point.Attributes.Value("stage"); stage.AsString() == "short" {
				fmt.Println(m.Name, point.Value)
			}
		}
	}
	// Output:
	// leat.stage.records.out 2
	// leat.stage.records.dropped 1
}
