package kafka_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// A partition is given up after the record in progress, however many records wait
// behind it: sarama shows the revocation only at the end of its channel.
func TestABusyPartitionIsGivenUpAfterItsRecord(t *testing.T) {
	t.Parallel()
	c := inOut(t, 2)
	c.Produce(numbered("in", 0, 4000)...)

	tokens := make(chan struct{})
	var begun atomic.Int64
	slow := pipeline.New("copy")
	in := pipeline.From(slow, "in", serde.Bytes())
	busy := stages.CheckCtx(in, "busy", func(ctx context.Context, _ []byte) error {
		begun.Add(1)
		select {
		case <-tokens:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	pipeline.To(busy, "out", serde.Bytes())

	cfg := c.config()
	cfg.UntilEnd = false
	cfg.RebalanceTimeout = time.Minute
	first := launch(t, slow, cfg)
	c.Await("both partitions to be busy", func() bool { return begun.Load() == 2 })

	assigned := make(chan pipeline.Partition, 2)
	other := cfg
	other.OnAssigned = func(p pipeline.Partition) { assigned <- p }
	second := launch(t, copying("copy"), other)

	// Records end one by one from now on: a batch would take half a minute, and
	// thousands wait behind it.
	release := time.NewTicker(50 * time.Millisecond)
	defer release.Stop()
	deadline := time.After(15 * time.Second)
	for moved := false; !moved; {
		select {
		case <-assigned:
			moved = true
		case <-release.C:
			select {
			case tokens <- struct{}{}:
			default:
			}
		case <-deadline:
			t.Fatal("the second worker was given nothing: the first still holds what it has been asked to give up")
		}
	}
	first.cancel()
	_ = first.wait() // its records in progress are given up at the deadline
	second.stop()
}
