package stages_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// Sales are summed up for each shop and hour, by the time of the sale. What comes late is
// counted where it belongs, until the hour has closed; then it is a dead letter.
func ExampleAggregate() {
	p := pipeline.New("sales", pipeline.DeadLetter("sales.dlq"))
	sales := pipeline.From(p, "sales", serde.JSON[int]())
	hours := stages.Aggregate(sales, "by hour", serde.JSON[int](),
		func(sum, amount int) (int, error) { return sum + amount, nil },
		stages.AggregateConfig{Topic: "sales.by-hour", Window: time.Hour, Grace: 10 * time.Minute})
	keyed := stages.KeyByRecord(hours, "shop and hour", func(_ context.Context, r *pipeline.Record[stages.Windowed[int]]) (string, error) {
		return fmt.Sprintf("%s %s", r.Key, r.Value.Start.Format("15:04")), nil
	}, serde.String())
	pipeline.To(stages.Map(keyed, "sum", func(w stages.Windowed[int]) (int, error) { return w.Value, nil }), "sums", serde.JSON[int]())

	c := pipelinetest.For(p)
	for _, sale := range []struct {
		at     string
		amount string
	}{{"09:10", "10"}, {"09:59", "5"}, {"10:05", "7"}, {"09:58", "1"}, {"10:10", "2"}, {"09:57", "100"}} {
		at, err := time.Parse("15:04", sale.at)
		if err != nil {
			fmt.Println(err)
		}
		c.Feed("sales", pipelinetest.Text("corner", sale.amount).At(at.AddDate(2026, 0, 0)))
	}
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, topic := range []string{"sums", "sales.dlq"} {
		for _, r := range c.Records(topic) {
			fmt.Printf("%s: %s %s\n", topic, r.Key, r.Value)
		}
	}
	// Output:
	// sums: corner 09:00 10
	// sums: corner 09:00 15
	// sums: corner 09:00 16
	// sums: corner 10:00 7
	// sums: corner 10:00 9
	// sales.dlq: corner 100
}
