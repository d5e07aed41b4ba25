package pipeline

import (
	"slices"
	"testing"
)

// A member that has failed on its own is refused with no other.
func TestGroupOfABond(t *testing.T) {
	member := func(offset int64, over bool) *Held {
		return &Held{raw: Raw{Origin: Origin{Offset: offset}}, over: over}
	}
	b := &bond{members: []*Held{member(3, false), member(5, true), member(4, false)}}
	if got := b.group(); !slices.Equal(got, group{3, 4}) {
		t.Errorf("got %v", got)
	}
}
