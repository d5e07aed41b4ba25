//go:build unix

package soak

import (
	"context"
	"math/rand/v2"
	"slices"
)

// class is what a kind of fault strikes.
type class uint8

const (
	ofWorkers class = iota
	ofBrokers
	ofConnections
	ofTopics // these go with no others
)

// kind is a way for things to go wrong.
type kind struct {
	name, about string
	of          class
	// rounds is how many rounds of a schedule have it, 0 for all.
	rounds int
	// do breaks something and returns when it is whole again.
	do func(context.Context, *strike) error
}

// kinds are all there are.
var kinds = slices.Concat(workerKinds, brokerKinds, connectionKinds, topicKinds)

// kindOf returns the kind of that name.
func kindOf(name string) kind {
	return kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

// strike is one kind of fault at one time.
type strike struct {
	*play
	kind kind
	rand *rand.Rand
}

// between returns a whole number from least to most.
func (s *strike) between(least, most int) int { return least + s.rand.IntN(most-least+1) }
