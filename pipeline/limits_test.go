package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

type bytesSerde struct{}

func (bytesSerde) Append(_ context.Context, dst []byte, _ Slot, v []byte) ([]byte, error) {
	return append(dst, v...), nil
}
func (bytesSerde) Decode(_ context.Context, _ Slot, data []byte) ([]byte, error) { return data, nil }

// A stage whose retries outlast the transaction or the time in which a partition
// must be given up would never get through.
func TestRetriesMustFitTheTimeouts(t *testing.T) {
	for _, c := range []struct {
		name   string
		opts   []StageOption
		limits Limits
		want   []string
	}{
		{"no retries", []StageOption{Timeout(time.Hour)}, Limits{time.Second, time.Second}, nil},
		{"retries that fit", []StageOption{OnError(Retry(3, Backoff{Initial: time.Second, Max: 10 * time.Second}, Fail))},
			Limits{7*time.Second + 1, 7*time.Second + 1}, nil},
		{"retries that do not", []StageOption{OnError(Retry(3, Backoff{Initial: time.Second, Max: 10 * time.Second}, Fail))},
			Limits{7 * time.Second, 7 * time.Second}, []string{"transaction time-out (7s)", "rebalance time-out (7s)"}},
		{"tries with a time-out count", []StageOption{Timeout(time.Second), OnError(Retry(3, Backoff{Initial: time.Second, Max: 10 * time.Second}, Fail))},
			Limits{Transaction: 11 * time.Second}, []string{"may retry for 11s"}},
		{"no limits", []StageOption{OnError(Retry(1000, Backoff{Max: time.Hour}, Fail))}, Limits{}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := New("test")
			s := From(p, "in", Serde[[]byte](bytesSerde{}))
			s = Apply(s, "x", "stage", func(_ *StageContext, next Next[[]byte]) Next[[]byte] { return next }, c.opts...)
			To(s, "out", Serde[[]byte](bytesSerde{}))
			err := p.validate(c.limits)
			if len(c.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, want := range c.want {
				if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), `stage "stage"`) {
					t.Errorf("got %v, want it to say %s", err, want)
				}
			}
		})
	}
}
