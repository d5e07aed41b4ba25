package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// told is a source that tells its settings.
type told struct{ pipeline.Source }

func (told) Settings(name string) []pipeline.Setting {
	return []pipeline.Setting{{Name: "Group", Value: name}, {Of: "nobody", Name: "Start"}}
}

func TestSettingsOfARun(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		w := &witness{}
		source, sink := c.Ends()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := pipeline.Run(ctx, p, told{source}, sink, pipeline.Observers(w), pipeline.CommitEvery(time.Second, 0, 0)); err != nil {
			t.Fatal(err)
		}
		want := []pipeline.Setting{
			{Of: "run", Name: "Delivery", Value: "exactly-once"}, {Of: "run", Name: "CommitInterval", Value: "1s"},
			{Of: "run", Name: "CommitRecords", Value: "100000"}, {Of: "run", Name: "CommitBytes", Value: fmt.Sprint(32 << 20)},
			{Of: "run", Name: "StopTimeout", Value: "10s"},
			{Of: "source", Name: "Group", Value: "test"}, {Of: "source", Name: "Start"},
		}
		if !slices.Equal(w.run.Settings, want) {
			t.Errorf("settings %+v", w.run.Settings)
		}
	})
}

// teller prints the settings of each run. A console or a metric would keep them.
type teller struct{}

func (teller) RunStarted(r *pipeline.Running) {
	for _, s := range r.Settings {
		fmt.Println(s.Of, s.Name, s.Value)
	}
}

func (teller) RunEnded(*pipeline.Running, error) {}

// An observer is told the configuration in force, of source and sink, too, if they are
// Configured, as Kafka's are.
func ExampleConfigured() {
	p := pipeline.New("example")
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	observe := pipelinetest.Engine(pipeline.Observers(teller{}), pipeline.CommitEvery(50*time.Millisecond, 0, 0))
	if err := pipelinetest.For(p).Run(context.Background(), p, observe); err != nil {
		fmt.Println(err)
	}
	// Output:
	// run Delivery exactly-once
	// run CommitInterval 50ms
	// run CommitRecords 100000
	// run CommitBytes 33554432
	// run StopTimeout 10s
}
