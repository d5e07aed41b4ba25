package checktest

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"
)

// NoLeaks fails the test unless every goroutine that has one of the packages (a
// part of an import path) on its stack ends within a few seconds after the test's
// own clean-up. Call it first: clean-up runs last to first.
func NoLeaks(t testing.TB, packages ...string) {
	t.Helper()
	before := stacks(packages)
	t.Cleanup(func() {
		var left map[string]string
		deadline := time.Now().Add(patience)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			left = stacks(packages)
			for id := range before {
				delete(left, id)
			}
			if len(left) == 0 {
				return
			}
			if time.Now().After(deadline) {
				break
			}
			<-tick.C
		}
		all := make([]string, 0, len(left))
		for _, s := range left {
			all = append(all, s)
		}
		t.Errorf("%d goroutines are left:\n%s", len(left), strings.Join(all, "\n\n"))
	})
}

// stacks returns the goroutines that run code of the packages, by their id.
func stacks(packages []string) map[string]string {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	out := map[string]string{}
	for i, s := range bytes.Split(buf, []byte("\n\n")) {
		if i == 0 { // the caller's own
			continue
		}
		for _, p := range packages {
			if bytes.Contains(s, []byte(p)) {
				head, _, _ := bytes.Cut(s, []byte(" ["))
				out[string(head)] = string(s)
			}
		}
	}
	return out
}
