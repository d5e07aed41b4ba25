package send

import "testing"

// TestMutants switches off one rule at a time. The simulation must notice, or it
// would not notice a mistake either.
func TestMutants(t *testing.T) {
	for _, x := range []struct {
		name  string
		rule  rule
		seeds uint64
	}{
		{"1: the first batch of an epoch goes alone", ruleFirstAlone, 1000},
		{"2: a batch is settled by its own answer", ruleOwnAnswer, 100},
		{"3: the epoch is raised after ambiguity", ruleRaise, 200},
		{"4: a retry keeps its number", ruleSameNumber, 100},
		{"5: a hole is resolved", ruleHole, 100},
		{"6: EndTxn is repeated", ruleRepeatEnd, 100},
		// Of these three any two keep the oldest open batch among the broker's five.
		{"4: the span is five, and the head goes alone", ruleSpan | ruleHeadAlone, 1000},
		{"4: the span is five, and one leader at a time", ruleSpan | ruleOneLeader, 4000},
		{"leaders of later epochs only", ruleHintEpoch, 1000},
	} {
		t.Run(x.name, func(t *testing.T) {
			for seed := uint64(1); seed <= x.seeds; seed++ {
				if err := newSim(seed, x.rule).run(); err != nil {
					t.Logf("seed %d: %v", seed, err)
					return
				}
			}
			t.Errorf("%d schedules without a violation", x.seeds)
		})
	}
}
