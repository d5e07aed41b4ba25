package check

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// seconds are times of a run.
func seconds(s float64) time.Time { return noon.Add(time.Duration(s * float64(time.Second))) }

func fault(name string, began, healed float64) Fault {
	return Fault{Name: name, Began: seconds(began), Healed: seconds(healed)}
}

// steps makes a sample a second, with the positions of each input partition as long
// as there are some, and the last ones from then on. A position of -2 means that there
// is no such partition yet.
func steps(n int, positions ...[]int64) (samples []history.Sample) {
	for i := range n {
		s := history.Sample{At: seconds(float64(i))}
		for _, of := range positions {
			if at := of[min(i, len(of)-1)]; at != -2 {
				s.Committed, s.Input = append(s.Committed, at), append(s.Input, 1000)
			}
		}
		samples = append(samples, s)
	}
	return samples
}

func TestCalmFollowsTheLastOfOverlappingFaults(t *testing.T) {
	end := seconds(100)
	for name, c := range map[string]struct {
		faults   []Fault
		from, to float64 // of the first
	}{
		"alone":                            {[]Fault{fault("a", 10, 20)}, 20, 100},
		"another later":                    {[]Fault{fault("a", 10, 20), fault("b", 30, 40)}, 20, 30},
		"another earlier":                  {[]Fault{fault("a", 10, 20), fault("b", 1, 9)}, 20, 100},
		"healed within another":            {[]Fault{fault("a", 10, 20), fault("b", 5, 40)}, 20, 20},
		"healed before one begun later":    {[]Fault{fault("a", 10, 20), fault("b", 15, 25)}, 20, 20},
		"healed last":                      {[]Fault{fault("a", 10, 30), fault("b", 5, 12), fault("c", 11, 29)}, 30, 100},
		"healed last, and then another":    {[]Fault{fault("a", 10, 30), fault("b", 60, 70), fault("c", 11, 29), fault("d", 50, 80)}, 30, 50},
		"a chain":                          {[]Fault{fault("a", 10, 20), fault("b", 15, 30), fault("c", 25, 40)}, 20, 20},
		"still there, and then another":    {[]Fault{fault("a", 10, 20), fault("b", 30, 40), fault("c", 15, 50)}, 20, 20},
		"both healed at once":              {[]Fault{fault("a", 10, 20), fault("b", 12, 20)}, 20, 100},
		"another begins with the healing":  {[]Fault{fault("a", 10, 20), fault("b", 20, 30)}, 20, 20},
		"one that is never healed":         {[]Fault{fault("a", 10, 20), {Name: "b", Began: seconds(5)}}, 20, 20},
		"one that never will be, later on": {[]Fault{fault("a", 10, 20), {Name: "b", Began: seconds(50)}}, 20, 50},
	} {
		from, to := calm(c.faults, 0, end)
		if !from.Equal(seconds(c.from)) || !to.Equal(seconds(c.to)) {
			t.Errorf("%s: from %s to %s", name, clock(from), clock(to))
		}
	}
}

func TestRecoveries(t *testing.T) {
	rising := []int64{0, 10, 10, 10, 10, 10, 20, 30, 30, 30, 40} // a fault from 1 to 3 or so
	for name, c := range map[string]struct {
		samples []history.Sample
		faults  []Fault
		want    []Recovery // of each fault that was healed
	}{
		"until the slowest partition went on": {
			steps(20, rising, []int64{0, 10, 10, 10, 11}), []Fault{fault("a", 1.5, 3)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}},
		},
		"each at its own time, even if not known later": {
			steps(20, []int64{0, 10, 10, 11, history.Unknown}, []int64{0, 10, 10, 10, 10, 11}), []Fault{fault("a", 1.5, 2)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}},
		},
		"from where it stood, even if that is not known at the healing": {
			steps(20, []int64{0, 10, history.Unknown, history.Unknown, 10, 10, 11}), []Fault{fault("a", 1.5, 3)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}},
		},
		"to its end": {
			steps(20, rising, []int64{1000}), []Fault{fault("a", 1.5, 3)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}},
		},
		"one that never goes on": {
			steps(20, rising, []int64{0, 10}), []Fault{fault("a", 1.5, 3)}, []Recovery{{Outcome: Unseen}},
		},
		"another begins first": {
			steps(20, rising), []Fault{fault("a", 1.5, 3), fault("b", 4, 5)}, []Recovery{{Outcome: Overtaken}, {Outcome: Recovered, Took: time.Second}},
		},
		"another begins afterwards": {
			steps(20, rising), []Fault{fault("a", 1.5, 3), fault("b", 7.5, 8)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}, {Outcome: Recovered, Took: 2 * time.Second}},
		},
		"healed while another is there": {
			steps(20, rising), []Fault{fault("a", 1.2, 5), fault("b", 1.5, 3)}, []Recovery{{Outcome: Recovered, Took: time.Second}, {Outcome: Overtaken}},
		},
		"never healed":              {steps(20, rising), []Fault{{Name: "a", Began: seconds(1)}}, nil},
		"healed after the end":      {steps(20, rising), []Fault{fault("a", 1.5, 30)}, []Recovery{{Outcome: Unseen}}},
		"no samples":                {nil, []Fault{fault("a", 1.5, 30)}, []Recovery{{Outcome: Unseen}}},
		"a partition that is added": {steps(20, rising, []int64{-2, -2, -2, -2, 0}), []Fault{fault("a", 1.5, 3)}, []Recovery{{Outcome: Recovered, Took: 3 * time.Second}}},
	} {
		got := Recoveries(c.samples, c.faults)
		for i := range got {
			got[i].Fault = Fault{}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// TestRecoveryEndsWithTheAnswer rather than with the question.
func TestRecoveryEndsWithTheAnswer(t *testing.T) {
	samples := steps(20, []int64{0, 10, 10, 10, 20})
	samples[4].Took = 1500 * time.Millisecond
	faults := []Fault{fault("a", 1.5, 3)}
	if got := Recoveries(samples, faults); got[0].Took != 2500*time.Millisecond {
		t.Errorf("%+v", got)
	}
	if got := Recoveries(samples, append(faults, fault("b", 5, 6))); got[0].Outcome != Overtaken {
		t.Errorf("answered within the next fault: %+v", got)
	}
}

func TestSummarize(t *testing.T) {
	var all []Recovery
	for i := range 100 {
		f := Fault{Name: "a", Kind: "kill"}
		if i%10 == 9 {
			f = Fault{Name: "stop"}
		}
		all = append(all, Recovery{Fault: f, Took: time.Duration(100-i) * time.Second})
	}
	all = append(all, Recovery{Fault: Fault{Name: "cut"}, Outcome: Overtaken}, Recovery{Fault: Fault{Name: "stop"}, Outcome: Unseen})
	want := []Percentiles{
		{Recovered: 100, Overtaken: 1, Unseen: 1, Median: 50 * time.Second, P90: 90 * time.Second, P99: 99 * time.Second, Max: 100 * time.Second},
		{Kind: "cut", Overtaken: 1},
		{Kind: "kill", Recovered: 90, Median: 50 * time.Second, P90: 90 * time.Second, P99: 100 * time.Second, Max: 100 * time.Second},
		{Kind: "stop", Recovered: 10, Unseen: 1, Median: 41 * time.Second, P90: 81 * time.Second, P99: 91 * time.Second, Max: 91 * time.Second},
	}
	got := Summarize(all)
	if !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	if text := got[3].String(); text != "stop: 10 recovered, median 41s, 90 % 1m21s, 99 % 1m31s, longest 1m31s; 0 overtaken, 1 unseen" {
		t.Error(text)
	}
}

// TestResumedJudgesANewPartitionFromItsAppearance: it needs not have gone on sooner
// than the limit after that, but then it must.
func TestResumedJudgesANewPartitionFromItsAppearance(t *testing.T) {
	old := make([]int64, 60)
	for i := range old {
		old[i] = int64(i)
	}
	added := func(appears, moves int) []int64 {
		of := slices.Repeat([]int64{0}, 60)
		for i := range appears {
			of[i] = -2
		}
		for i := moves; i < len(of); i++ {
			of[i] = 5
		}
		return of
	}
	for name, c := range map[string]struct {
		added  []int64
		faults []Fault
		text   string // "" for no violation
	}{
		"moves in time":                     {added(12, 20), []Fault{fault("a", 1, 5)}, ""},
		"moves late":                        {added(12, 24), []Fault{fault("a", 1, 5)}, "partition 1 stood at 0"},
		"never moves":                       {added(12, 60), []Fault{fault("a", 1, 5)}, "partition 1 stood at 0"},
		"appears at the end":                {added(55, 60), []Fault{fault("a", 1, 5)}, ""},
		"appears just before another fault": {added(25, 60), []Fault{fault("a", 1, 5), fault("b", 30, 55)}, ""},
		"was there at the other's healing":  {added(25, 60), []Fault{fault("a", 1, 5), fault("b", 30, 40)}, "after b was healed"},
	} {
		violations := CheckResumed(steps(60, old, c.added), c.faults, 10*time.Second)
		if ok := len(violations) == 0; ok != (c.text == "") || !ok && !strings.Contains(violations[0].Text, c.text) {
			t.Errorf("%s: %v", name, violations)
		}
	}
	if v := CheckResumed(steps(60, old), []Fault{{Name: "a", Began: noon}}, time.Second); len(v) != 1 || !strings.Contains(v[0].Text, "never healed") {
		t.Errorf("not healed: %v", v)
	}
}
