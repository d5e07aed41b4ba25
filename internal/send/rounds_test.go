package send

import "testing"

func TestRounds(t *testing.T) {
	var r rounds
	r.init()
	closed := func(c <-chan struct{}) bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
	if !closed(r.end()) {
		t.Error("a flush of nothing waits")
	}
	first := r.enter()
	one := r.end()
	second := r.enter()
	two := r.end()
	if closed(one) || closed(two) || !r.pending() {
		t.Error("a flush does not wait")
	}
	r.leave(second)
	if closed(two) {
		t.Error("a flush does not wait for what was sent before an earlier one")
	}
	r.join(first) // a batch that was split
	r.leave(first)
	if closed(one) {
		t.Error("a flush does not wait for the second half of a batch")
	}
	later := r.enter()
	r.leave(first)
	if !closed(one) || !closed(two) || r.pending() {
		t.Error("a flush waits for what was sent after it")
	}
	r.leave(later)
	if len(r.list) != 1 {
		t.Errorf("%d rounds are kept", len(r.list))
	}
}
