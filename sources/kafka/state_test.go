package kafkasource_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// readState reads partition 1 of topic "table" as a state, and returns what it is.
func readState(ctx context.Context, t *testing.T, c *embedded.Cluster, apply func(*pipeline.Raw) error) (string, error) {
	t.Helper()
	src := kafkasource.New(kafkasource.Config{Brokers: c.Brokers(), Logger: silent})
	_, err := src.Open(t.Context(), pipeline.Spec{Pipeline: "p", Inputs: []string{"in"}})
	noError(t, err, "open")
	defer func() { noError(t, src.Close(), "close") }()
	var got []string
	err = src.ReadState(ctx, pipeline.Partition{Topic: "table", Partition: 1}, func(r *pipeline.Raw) error {
		got = append(got, string(r.Key)+string(r.Value))
		return apply(r)
	}, func(int64, int64) {})
	return strings.Join(got, " "), err
}

func taken(*pipeline.Raw) error { return nil }

// Brokers that are away for longer than one look-up tries do not end a pipeline that reads
// a state.
func TestAStateIsReadOverErrorsThatPass(t *testing.T) {
	t.Parallel()
	w, c := cluster(t)
	w.Produce(entry("a", "1"), entry("c", "2"), entry("a", "3"))
	const times = 8
	faults := c.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Topic: "table", Count: times})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	got, err := readState(ctx, t, c, taken)
	noError(t, err, "read the state")
	if got != "a1 c2 a3" {
		t.Errorf("read %q", got)
	}
	if n := faults.Hits(); n < times {
		t.Errorf("%d refusals, want %d", n, times)
	}
}

func TestAStateIsNotReadForEver(t *testing.T) {
	t.Parallel()
	full, enough := errors.New("full"), errors.New("enough")
	refused := kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Topic: "table"}
	tests := map[string]struct {
		act  func(c *embedded.Cluster, stop context.CancelCauseFunc)
		take func(*pipeline.Raw) error
		want error
	}{
		"the stage refuses": {
			act:  func(*embedded.Cluster, context.CancelCauseFunc) {},
			take: func(*pipeline.Raw) error { return full }, want: full,
		},
		"the context ends": {
			act:  func(c *embedded.Cluster, stop context.CancelCauseFunc) { c.Fake().Fault(refused); stop(enough) },
			take: taken, want: enough,
		},
		"the topic is gone": {
			act: func(c *embedded.Cluster, _ context.CancelCauseFunc) {
				noError(t, c.Fake().DeleteTopic("table"), "delete")
			},
			take: taken, want: pipeline.ErrMissingTopic,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, c := cluster(t)
			w.Produce(entry("a", "1"))
			within, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			ctx, stop := context.WithCancelCause(within)
			defer stop(nil)
			test.act(c, stop)
			if _, err := readState(ctx, t, c, test.take); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}
