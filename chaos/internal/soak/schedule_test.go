//go:build unix

package soak

import (
	"reflect"
	"testing"
)

func steps(seed uint64, n int) (all []Step) {
	s := NewSchedule(seed)
	for range n {
		all = append(all, s.Next())
	}
	return all
}

func TestScheduleIsAFunctionOfTheSeed(t *testing.T) {
	one, again, other := steps(1, 200), steps(1, 200), steps(2, 200)
	if !reflect.DeepEqual(one, again) {
		t.Error("the same seed has two schedules")
	}
	if reflect.DeepEqual(one, other) {
		t.Error("two seeds have the same schedule")
	}
}

// An hour has some sixty steps.
func TestScheduleHasAllOften(t *testing.T) {
	for seed := range uint64(20) {
		times, several := map[string]int{}, 0
		for _, s := range steps(seed, 60) {
			for _, k := range s.Kinds {
				times[k]++
			}
			if len(s.Kinds) > 1 {
				several++
				classes := map[class]bool{}
				for _, k := range s.Kinds {
					classes[kindOf(k).of] = true
				}
				if len(classes) != len(s.Kinds) || classes[ofTopics] {
					t.Errorf("seed %d: %v do not go together", seed, s.Kinds)
				}
			}
		}
		for _, k := range kinds {
			least := 2
			if k.rounds == 1 {
				least = 1
			}
			if times[k.name] < least || k.rounds == 1 && times[k.name] > 1 {
				t.Errorf("seed %d: %s comes %d times", seed, k.name, times[k.name])
			}
		}
		if several < 2 {
			t.Errorf("seed %d: %d steps of several kinds", seed, several)
		}
	}
}

func TestKindsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range kinds {
		if seen[k.name] || k.about == "" || k.do == nil {
			t.Errorf("%q is there twice, or is not complete", k.name)
		}
		seen[k.name] = true
	}
}
