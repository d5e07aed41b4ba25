package kafkasource_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
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

// onWarning tells of each warning.
type onWarning struct {
	slog.Handler
	tell func()
}

func (h onWarning) Handle(ctx context.Context, r slog.Record) error {
	if r.Level == slog.LevelWarn {
		h.tell()
	}
	return h.Handler.Handle(ctx, r)
}

// The same in the midst of it, once the reader has lost its patience, which takes 30 s. It
// goes on where it was.
func TestAStateIsReadOn(t *testing.T) {
	t.Parallel()
	w, c := cluster(t)
	large := make([]byte, 900<<10) // so that one fetch does not bring all, compressed or not
	_, _ = rand.NewChaCha8([32]byte{}).Read(large)
	const keys = "abc"
	for i := range len(keys) {
		w.Produce(checktest.To(1, &kgo.Record{Topic: "table", Key: []byte(keys[i : i+1]), Value: large}))
	}
	fails := kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Topic: "table", Count: -1}
	var faults *kfake.FaultHandle
	tries := 0
	src := kafkasource.New(kafkasource.Config{Brokers: c.Brokers(), Logger: slog.New(onWarning{silent.Handler(), func() {
		tries++
		faults.Remove()
	}})})
	_, err := src.Open(t.Context(), pipeline.Spec{Pipeline: "p", Inputs: []string{"in"}})
	noError(t, err, "open")
	defer func() { noError(t, src.Close(), "close") }()
	ctx, cancel := context.WithTimeout(t.Context(), 3*patience)
	defer cancel()
	var got string
	noError(t, src.ReadState(ctx, pipeline.Partition{Topic: "table", Partition: 1}, func(r *pipeline.Raw) error {
		if got == "" {
			faults = c.Fake().Fault(fails)
		}
		got += string(r.Key)
		return nil
	}, func(int64, int64) {}), "read the state")
	if got != keys || tries != 1 {
		t.Errorf("read %q, with %d warnings", got, tries)
	}
}

func TestAStateIsNotReadForEver(t *testing.T) {
	t.Parallel()
	full, enough := errors.New("full"), errors.New("enough")
	refused := kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.NotLeaderForPartition, Topic: "table", Count: -1}
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
