//go:build unix

package soak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Step is what is done next.
type Step struct {
	Number int
	// Kinds are what goes wrong, at once if they are several.
	Kinds []string
	// Seed chooses victims and durations.
	Seed uint64
	// Calm is how long nothing else happens afterwards.
	Calm time.Duration
}

// String describes the step.
func (s Step) String() string {
	return fmt.Sprintf("%d. %s (seed %016x, then %v of calm)", s.Number, strings.Join(s.Kinds, " + "), s.Seed, s.Calm)
}

// The calm after a step: long enough for a verdict on what has resumed, or so short that
// the next fault meets a recovery.
const (
	longCalm  = 35 * time.Second
	shortCalm = 2 * time.Second
)

// severalEvery is how often a step has three kinds at once.
const severalEvery = 6

// Schedule is an endless list of steps, the same for the same seed: every kind once in
// some order, then all in another, and now and then three at once in between.
type Schedule struct {
	rand   *rand.Rand
	deck   []string // of the present round
	round  int
	number int
}

// NewSchedule returns the schedule of a seed.
func NewSchedule(seed uint64) *Schedule {
	return &Schedule{rand: rand.New(rand.NewPCG(seed, 0x50a4))}
}

// Next returns the next step.
func (s *Schedule) Next() Step {
	s.number++
	step := Step{Number: s.number, Seed: s.rand.Uint64(), Calm: longCalm}
	if s.rand.IntN(4) == 0 {
		step.Calm = shortCalm
	}
	if s.number%severalEvery == 0 {
		step.Kinds = s.several()
		return step
	}
	if len(s.deck) == 0 {
		s.round++
		s.shuffle()
	}
	step.Kinds, s.deck = s.deck[:1:1], s.deck[1:]
	return step
}

// shuffle makes the deck of a round.
func (s *Schedule) shuffle() {
	s.deck = nil
	for _, k := range kinds {
		if k.rounds == 0 || s.round <= k.rounds {
			s.deck = append(s.deck, k.name)
		}
	}
	s.rand.Shuffle(len(s.deck), func(i, j int) { s.deck[i], s.deck[j] = s.deck[j], s.deck[i] })
}

// several returns kinds that can happen at once: one of each class that goes with others.
func (s *Schedule) several() (names []string) {
	for _, of := range []class{ofWorkers, ofBrokers, ofConnections} {
		var some []string
		for _, k := range kinds {
			if k.of == of {
				some = append(some, k.name)
			}
		}
		names = append(names, some[s.rand.IntN(len(some))])
	}
	return names
}
