package pipeline

import (
	"errors"
	"time"
)

// abandonGrace is how long a run that is given up waits, once for its goroutines and once for
// its sink, after all of their contexts have ended.
const abandonGrace = 2 * time.Second

var errSealed = errors.New("the run was given up")

// abandon waits for the goroutines of a run whose contexts have ended. Those that do not
// heed that are left behind, without the sink: it is to be closed, and nobody may be in a call
// of it then. It reports false if the sink itself is not let go.
func (r *run) abandon(done <-chan error) bool {
	grace := time.NewTimer(abandonGrace)
	defer grace.Stop()
	select {
	case <-done:
		return true
	case <-grace.C:
	}
	sealed := make(chan struct{})
	go func() { // left behind as well if a call of the sink does not return
		defer close(sealed)
		r.w.seal()
	}()
	grace.Reset(abandonGrace)
	select {
	case <-sealed:
		return true
	case <-grace.C:
		return false
	}
}

// seal returns when nobody uses the sink any more, nor will.
func (w *Worker) seal() {
	w.initializing <- struct{}{}
	defer func() { <-w.initializing }()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sealed = true
	w.endSession("", "stop")
}
