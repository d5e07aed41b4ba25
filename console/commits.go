package console

import (
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// The rules by which commits are late. An idle pipeline commits nothing, and is well.
const (
	// shortestOverdue: finished work that is older than this, and than ten commit
	// intervals, ought to be committed.
	shortestOverdue = time.Second
	// shortestBehind: so long, or ten commit intervals, there may be records to read and
	// nothing committed. It leaves room for slow stages.
	shortestBehind = 10 * time.Second
	// longestSilence: a partition of which nothing waits to be processed is asked for all
	// the time, and the broker answers some times a second also when nothing has come.
	longestSilence = time.Second
	// shortestNotReady: work that is older than this, and than ten commit intervals,
	// makes a run not ready.
	shortestNotReady = 10 * time.Second
)

// watch notes what one snapshot alone does not say.
type watch struct {
	phase      pipeline.Phase
	phaseSince time.Time
	lastCommit time.Time
	behind     time.Time // since when there is lag and no commit, or zero
}

func (w *watch) see(s *pipeline.Snapshot) {
	if s.Phase != w.phase || w.phaseSince.IsZero() {
		w.phase, w.phaseSince = s.Phase, s.At
	}
	switch {
	case s.Phase != pipeline.PhaseRunning || !lags(s):
		w.behind = time.Time{}
	case w.behind.IsZero() || !s.LastCommit.Equal(w.lastCommit):
		w.behind = s.At
	}
	w.lastCommit = s.LastCommit
}

func lags(s *pipeline.Snapshot) bool {
	for i := range s.Claims {
		if s.Claims[i].Lag > 0 && s.Claims[i].Due.IsZero() {
			return true
		}
	}
	return false
}

// overdue says why commits should come and do not, "" if all is well.
func overdue(s *pipeline.Snapshot, w watch, interval time.Duration) string {
	if s.Phase == pipeline.PhaseEnded || s.Phase == pipeline.PhaseNone {
		return ""
	}
	if d := age(s.At, s.UncommittedSince); d > max(10*interval, shortestOverdue) {
		return fmt.Sprintf("finished work is not committed for %v", round(d))
	}
	if s.Phase != pipeline.PhaseRunning {
		return ""
	}
	if p, d := mostSilent(s); d > longestSilence {
		return fmt.Sprintf("no word from the broker about %v for %v", p, round(d))
	}
	if d := age(s.At, w.behind); d > max(10*interval, shortestBehind) {
		return fmt.Sprintf("there are records to read, and nothing is committed for %v", round(d))
	}
	return ""
}

// mostSilent is the partition of which the broker has said nothing for longest, of
// those where it would: what waits to be processed is not asked for.
func mostSilent(s *pipeline.Snapshot) (p pipeline.Partition, d time.Duration) {
	for i := range s.Claims {
		c := &s.Claims[i]
		if c.Held || c.Heard.IsZero() {
			continue
		}
		if silent := s.At.Sub(c.Heard); silent > d {
			p, d = c.Partition, silent
		}
	}
	return p, d
}

// suspicious says that the page should look again soon: a commit is late, or the broker
// says nothing, if not yet for too long.
func suspicious(s *pipeline.Snapshot, interval time.Duration) bool {
	if s.Phase != pipeline.PhaseRunning {
		return false
	}
	_, silence := mostSilent(s)
	return age(s.At, s.UncommittedSince) > 3*interval || silence > longestSilence/2
}

// notReady says why a run is not ready, "" if it is.
func notReady(s *pipeline.Snapshot, interval time.Duration) string {
	if s.Phase != pipeline.PhaseRunning {
		return s.Phase.String()
	}
	if d := age(s.At, s.UncommittedSince); d > max(10*interval, shortestNotReady) {
		return fmt.Sprintf("finished work is not committed for %v", round(d))
	}
	return ""
}

func age(now, since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return now.Sub(since)
}

func round(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}
