package console

import (
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// The broker's silence counts where it would speak: at partitions of which nothing waits
// to be processed, in a run that has a session. A lag below zero stands for what waits.
func TestSilenceOfTheBroker(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	claim := func(lag int64, silent time.Duration) pipeline.PartitionStats {
		c := pipeline.PartitionStats{Partition: pipeline.Partition{Topic: "in", Partition: 3}, Lag: max(lag, -lag), Held: lag < 0}
		if silent > 0 {
			c.Heard = now.Add(-silent)
		}
		return c
	}
	for _, test := range []struct {
		name   string
		phase  pipeline.Phase
		claims []pipeline.PartitionStats
		want   string
	}{
		{"it answers", pipeline.PhaseRunning, []pipeline.PartitionStats{claim(0, 300*time.Millisecond)}, ""},
		{"it is silent", pipeline.PhaseRunning, []pipeline.PartitionStats{claim(0, time.Millisecond), claim(0, 4*time.Second)}, "no word from the broker about in[3] for 4s"},
		{"it is silent before the end", pipeline.PhaseRunning, []pipeline.PartitionStats{claim(10, 4*time.Second)}, "no word from the broker about in[3] for 4s"},
		{"what waits is not asked for", pipeline.PhaseRunning, []pipeline.PartitionStats{claim(-10, time.Hour)}, ""},
		{"never heard of", pipeline.PhaseRunning, []pipeline.PartitionStats{claim(1, 0)}, ""},
		{"no session", pipeline.PhaseJoining, []pipeline.PartitionStats{claim(0, time.Hour)}, ""},
	} {
		s := pipeline.Snapshot{At: now, Phase: test.phase, Claims: test.claims}
		if slow := suspicious(&s, time.Hour); slow != (test.want != "") {
			t.Errorf("%s: suspicious %v", test.name, slow)
		}
		if got := overdue(&s, watch{}, 100*time.Millisecond); got != test.want && (test.want == "" || !strings.HasPrefix(got, "no word") || !strings.HasSuffix(got, "for 4s")) {
			t.Errorf("%s: %q", test.name, got)
		}
	}
}

// The times follow a long commit interval.
func TestTimesFollowTheCommitInterval(t *testing.T) {
	now := time.Now()
	s := pipeline.Snapshot{At: now, Phase: pipeline.PhaseRunning, UncommittedSince: now.Add(-25 * time.Second)}
	if overdue(&s, watch{}, 100*time.Millisecond) == "" || notReady(&s, 100*time.Millisecond) == "" {
		t.Error("25 s are nothing at 100 ms")
	}
	if why := overdue(&s, watch{}, 5*time.Second); why != "" || notReady(&s, 5*time.Second) != "" {
		t.Errorf("25 s at 5 s: %s", why)
	}
	if behind := (watch{behind: now.Add(-25 * time.Second)}); overdue(&pipeline.Snapshot{At: now, Phase: pipeline.PhaseRunning}, behind, 5*time.Second) != "" {
		t.Error("behind for 25 s at 5 s")
	}
	if suspicious(&s, 10*time.Second) || !suspicious(&s, 5*time.Second) {
		t.Error("suspicious from three intervals on")
	}
}

// Lag that comes and goes with commits in between is none without commits.
func TestWatchForgets(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration, lag int64, commit time.Duration) *pipeline.Snapshot {
		return &pipeline.Snapshot{At: now.Add(d), Phase: pipeline.PhaseRunning, LastCommit: now.Add(commit), Claims: []pipeline.PartitionStats{{Lag: lag}}}
	}
	var w watch
	w.see(at(0, 5, 0))
	w.see(at(5*time.Second, 5, 0))
	if !w.behind.Equal(now) {
		t.Errorf("behind since %v", w.behind.Sub(now))
	}
	w.see(at(6*time.Second, 5, 6*time.Second)) // a commit
	if !w.behind.Equal(now.Add(6 * time.Second)) {
		t.Errorf("behind since %v", w.behind.Sub(now))
	}
	w.see(at(7*time.Second, 0, 6*time.Second))
	if !w.behind.IsZero() {
		t.Errorf("behind since %v", w.behind.Sub(now))
	}
}
