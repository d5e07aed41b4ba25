package pipeline

import (
	"testing"
	"time"
)

type reaches struct{ r Reach }

func (s reaches) Reach(Partition) (Reach, bool) { return s.r, !s.r.Heard.IsZero() || s.r.End > 0 }

func TestLag(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		committed, delivered int64
		reach                Reach
		want                 int64
	}{
		"all is done, and markers follow":     {10, 10, Reach{End: 13, Read: 13, Heard: now}, 0},
		"not all is committed":                {5, 10, Reach{End: 13, Read: 13, Heard: now}, 8},
		"read and not delivered":              {10, 10, Reach{End: 40, Read: 30, Held: true, Heard: now}, 30},
		"an open transaction follows":         {10, 10, Reach{End: 40, Read: 13, Heard: now}, 27},
		"the broker has not answered":         {10, 10, Reach{End: 1}, -1},
		"nothing is known":                    {10, 10, Reach{}, -1},
		"the position is not known":           {-1, 10, Reach{End: 13, Read: 13, Heard: now}, -1},
		"the end is older than what was read": {20, 20, Reach{End: 13, Read: 20, Heard: now}, 0},
	} {
		claim := &Claim{}
		claim.committed.Store(c.committed)
		claim.delivered.Store(c.delivered)
		if got := claim.measure(reaches{c.reach}); got.Lag != c.want || !got.Heard.Equal(c.reach.Heard) || got.Held != c.reach.Held {
			t.Errorf("%s: lag %d, want %d; heard %v", name, got.Lag, c.want, got.Heard)
		}
	}
	claim := &Claim{}
	if got := claim.measure(nil); got.Lag != -1 {
		t.Errorf("without a source that knows: %d", got.Lag)
	}
}
