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

type payment struct{ ID, Account string }

func (p payment) PaymentID() string { return p.ID }

// Payments that their sender has sent twice are passed on once, also if the pipeline is
// started anew in between.
func ExampleDedupe() {
	p := pipeline.New("payments")
	payments := pipeline.From(p, "payments", serde.JSON[payment]())
	once := stages.Dedupe(payments, "once", payment.PaymentID, stages.DedupeConfig{Topic: "payments.seen", Window: 24 * time.Hour})
	pipeline.To(once, "payments.once", serde.JSON[payment]())

	c := pipelinetest.For(p)
	for range 2 {
		c.Feed("payments",
			pipelinetest.Value(serde.JSON[payment](), payment{"p1", "anna"}).Key("anna"),
			pipelinetest.Value(serde.JSON[payment](), payment{"p2", "anna"}).Key("anna"),
			pipelinetest.Value(serde.JSON[payment](), payment{"p1", "anna"}).Key("anna"))
		if err := c.Run(context.Background(), p); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(pipelinetest.Values(c, "payments.once", serde.JSON[payment]()))
	// Output:
	// [{p1 anna} {p2 anna}]
}

// The id may be a header that the sender has set.
func ExampleDedupeRecord() {
	p := pipeline.New("messages")
	messages := pipeline.From(p, "messages", serde.String())
	id := func(_ context.Context, r *pipeline.Record[string]) (string, error) {
		v, _ := r.Headers.Get("message-id")
		return string(v), nil // none is the record's error
	}
	pipeline.To(stages.DedupeRecord(messages, "once", id, stages.DedupeConfig{Topic: "messages.seen"}), "messages.once", serde.String())

	c := pipelinetest.For(p)
	c.Feed("messages",
		pipelinetest.Text("k", "hello").Header("message-id", "1"),
		pipelinetest.Text("k", "hello").Header("message-id", "2"),
		pipelinetest.Text("k", "hello again").Header("message-id", "1"))
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	fmt.Println(pipelinetest.Values(c, "messages.once", serde.String()))
	// Output:
	// [hello hello]
}
