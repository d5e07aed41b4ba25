package pipeline_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
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
