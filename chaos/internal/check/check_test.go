package check

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

func TestCleanHistoryHasNoViolations(t *testing.T) {
	s := newScene(t)
	report := Judge(s.Evidence)
	if err := report.Err(); err != nil {
		t.Errorf("%v\n%v", err, report)
	}
	for _, k := range []workload.Kind{workload.Regular, workload.Dropped, workload.Null, workload.Poison, workload.Swells} {
		if s.Expectation.Kind(k) == 0 {
			t.Errorf("no input of kind %q: the scene shows too little", rune(k))
		}
	}
}

// remove takes records out of a partition, and keeps the others' offsets.
func remove(topic, partition, from, n int) func(*history.Log) {
	return func(l *history.Log) {
		l.Records[topic][partition] = slices.Delete(slices.Clone(l.Records[topic][partition]), from, from+n)
	}
}

// swap exchanges two neighbours of one input partition, at least i records in.
func swap(topic, partition, i int) func(*history.Log) {
	return func(l *history.Log) {
		records := slices.Clone(l.Records[topic][partition])
		j := i + 1
		for records[j].Partition != records[i].Partition || records[j].Source == records[i].Source {
			j++
		}
		records[i], records[j] = records[j], records[i]
		records[i].Offset, records[j].Offset = records[j].Offset, records[i].Offset
		l.Records[topic][partition] = records
	}
}

func again(topic, partition, i int) func(*history.Log) {
	return func(l *history.Log) {
		records := slices.Clone(l.Records[topic][partition])
		r := records[i]
		r.Offset = int64(len(records))
		l.Records[topic][partition] = append(records, r)
	}
}

func change(topic, partition, i int, how func(*history.Record)) func(*history.Log) {
	return func(l *history.Log) {
		l.Records[topic][partition] = slices.Clone(l.Records[topic][partition])
		how(&l.Records[topic][partition][i])
	}
}

// TestPlantedViolationsAreFound plants one after the other into a clean history.
func TestPlantedViolationsAreFound(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*scene)
		of    Invariant
		text  string
	}{
		"a double":           {func(s *scene) { s.both(again(workload.Left, 0, 3)) }, Delivered, "doubled: left[0]"},
		"a lost one":         {func(s *scene) { s.both(remove(workload.Right, 1, 5, 1)) }, Delivered, "lost: output"},
		"a lost dead letter": {func(s *scene) { s.both(remove(workload.DeadLetters, 0, 0, 1)) }, Delivered, "in dead letters"},
		"the last one lost": {func(s *scene) {
			n := len(s.Reread.Records[workload.Left][0])
			s.both(remove(workload.Left, 0, n-1, 1))
		}, Delivered, "lost"},
		"a changed value": {func(s *scene) {
			s.both(change(workload.Left, 1, 0, func(r *history.Record) { r.Value++ }))
		}, Delivered, "changed: left[1]@0"},
		"a changed key": {func(s *scene) {
			s.both(change(workload.Left, 1, 0, func(r *history.Record) { r.Key++ }))
		}, Delivered, "changed: left[1]@0"},
		"a null that is not one": {func(s *scene) {
			i := slices.IndexFunc(s.Reread.Records[workload.Left][0], func(r history.Record) bool { return r.Value == 0 })
			s.both(change(workload.Left, 0, i, func(r *history.Record) { r.Value = history.Hash([]byte{}) }))
		}, Delivered, "changed"},
		"one of nowhere": {func(s *scene) {
			s.both(change(workload.Left, 0, 2, func(r *history.Record) { r.Source = 1 << 40 }))
		}, Delivered, "unexpected"},
		"one of a partition that there is not": {func(s *scene) {
			s.both(change(workload.Left, 0, 2, func(r *history.Record) { r.Partition = 77 }))
		}, Delivered, "unexpected"},
		"one in the other topic": {func(s *scene) {
			r := s.Reread.Records[workload.Left][0][0]
			s.both(remove(workload.Left, 0, 0, 1))
			s.both(func(l *history.Log) {
				r.Offset = int64(len(l.Records[workload.Right][0]))
				l.Records[workload.Right][0] = append(slices.Clone(l.Records[workload.Right][0]), r)
			})
		}, Delivered, "unexpected: right[0]"},
		"one that is no output": {func(s *scene) {
			s.Reread.Bad, s.Reread.NumBad = []string{"left[0]@3: 0 headers index"}, 1
		}, Delivered, "not what a worker writes"},
		"many doubles are counted": {func(s *scene) {
			for i := range 50 {
				s.both(again(workload.Left, 0, i))
			}
		}, Delivered, "and 42 more"},

		"swapped": {func(s *scene) { s.both(swap(workload.Left, 0, 10)) }, Ordered, "comes after output"},
		"outputs of one input swapped": {func(s *scene) {
			records := s.Reread.Records[workload.Left][0]
			i := 0
			for records[i].Source != records[i+1].Source || records[i].Partition != records[i+1].Partition {
				i++
			}
			s.both(change(workload.Left, 0, i, func(r *history.Record) { r.Index += 9 }))
		}, Ordered, "comes after output"},
		"a key in two partitions": {func(s *scene) {
			r := s.Reread.Records[workload.Left][0][0]
			s.both(func(l *history.Log) {
				l.Records[workload.Left][1] = append([]history.Record{r}, l.Records[workload.Left][1]...)
			})
		}, Ordered, "has a key that was seen in partition"},

		"a key in two partitions of a topic that did not grow": {func(s *scene) {
			s.Growths[workload.Right] = []int32{2, 3}
			s.moved(workload.Left, 2)
		}, Ordered, "has a key that was seen in partition"},
		"a key in three partitions of a topic that grew once": {func(s *scene) {
			s.Growths[workload.Left] = []int32{2, 3}
			s.moved(workload.Left, 2)
			s.moved(workload.Left, 3)
		}, Ordered, "has a key that was seen in partition"},

		"an incomplete unit": {func(s *scene) { s.both(remove(workload.Left, 0, 0, 1)) }, Atomic, "incomplete: unit"},
		"a unit of nothing but its manifest": {func(s *scene) {
			unit := s.Reread.Records[workload.Left][0][0].Unit
			for _, topic := range []int{workload.Left, workload.Right} {
				for p := range sceneOutputs {
					s.Reread.Records[topic][p] = slices.DeleteFunc(s.Reread.Records[topic][p], func(r history.Record) bool { return r.Unit == unit })
				}
			}
		}, Atomic, "there are 0 and 0"},
		"a unit without its manifest": {func(s *scene) {
			s.Reread.Manifests = s.Reread.Manifests[1:]
		}, Atomic, "without a manifest"},
		"a record without a unit": {func(s *scene) {
			s.both(change(workload.Left, 0, 4, func(r *history.Record) { r.Unit = 0 }))
		}, Atomic, "no unit: left[0]@4"},
		"a record in a wrong unit": {func(s *scene) {
			far := s.Reread.Records[workload.Left][0][40].Unit
			s.both(change(workload.Left, 0, 4, func(r *history.Record) { r.Unit = far }))
		}, Atomic, "does not belong in"},
		"an aborted unit": {func(s *scene) {
			s.says(workload.Status{At: noon, Aborted: []string{s.Reread.Manifests[3].Unit}, Goroutines: 1})
		}, Atomic, "was aborted and can be seen"},
		"a manifest twice": {func(s *scene) {
			s.Reread.Manifests = append(s.Reread.Manifests, s.Reread.Manifests[0])
		}, Atomic, "a second manifest"},
		"input in two units": {func(s *scene) {
			m := s.Reread.Manifests[2]
			m.Unit, m.Left, m.Right = "w-again", 0, 0
			s.Reread.Manifests = append(s.Reread.Manifests, m)
		}, Atomic, "was in a unit before"},
		"input in no unit": {func(s *scene) {
			i := slices.IndexFunc(s.Reread.Manifests, func(m workload.Manifest) bool { return !s.Expectation.passedBy(m.Partition, m.Last) })
			s.Reread.Manifests[i].Last--
		}, Atomic, "is in no unit"},
		"the last input in no unit": {func(s *scene) {
			last := len(s.Reread.Manifests) - 1
			s.Reread.Manifests = s.Reread.Manifests[:last]
		}, Atomic, "is in no unit"},

		"a position that went back": {func(s *scene) {
			s.Samples[6].Committed = slices.Clone(s.Samples[6].Committed)
			s.Samples[6].Committed[0] -= 10
		}, Positions, "partition 0 went back"},
		"positions ahead of the outputs": {func(s *scene) {
			s.Samples[4].Committed = s.Samples[6].Committed
			s.Samples[5].Committed = s.Samples[6].Committed
		}, Positions, "which comes from an input before it"},
		"positions behind at the end": {func(s *scene) {
			last := &s.Samples[len(s.Samples)-1]
			last.Committed = slices.Clone(last.Committed)
			last.Committed[2] = s.Samples[len(s.Samples)-2].Committed[2]
			s.Expectation.Add(2, s.Expectation.end(2), []byte("k"), []byte("ddddddddd"))
		}, Positions, "at the end"},
		"positions beyond the end": {func(s *scene) {
			last := &s.Samples[len(s.Samples)-1]
			last.Committed = slices.Clone(last.Committed)
			last.Committed[1]++
		}, Positions, "is committed up to"},
		"no samples": {func(s *scene) { s.Samples = nil }, Positions, "nothing is known"},

		"something that was taken back": {func(s *scene) { remove(workload.Left, 0, 7, 1)(s.Reread) }, Stable, "was seen live, and is not there"},
		"the end taken back": {func(s *scene) {
			remove(workload.Right, 0, len(s.Reread.Records[workload.Right][0])-2, 2)(s.Reread)
		}, Stable, "2 records from offset"},
		"something not seen live": {func(s *scene) { remove(workload.Left, 0, 7, 1)(s.Live[0]) }, Stable, "was not seen live"},
		"the end not seen live": {func(s *scene) {
			remove(workload.Right, 0, len(s.Live[0].Records[workload.Right][0])-1, 1)(s.Live[0])
		}, Stable, "were not seen live"},
		"another record": {func(s *scene) {
			change(workload.Left, 0, 7, func(r *history.Record) { r.Value++ })(s.Live[0])
		}, Stable, "is another record"},
		"a partition not seen live": {func(s *scene) { s.Live[0].Records[workload.Left] = nil }, Stable, "were not seen live"},
		"a reader that failed":      {func(s *scene) { s.Live[0].Failed = errors.New("data loss") }, Stable, "could not go on"},

		"a transaction left open": {func(s *scene) {
			s.Open = []history.OpenTransaction{{Name: "chaos-g-w-0", State: "Ongoing"}}
		}, Closed, "still open at the end: chaos-g-w-0"},
		"a transaction that grows old": {func(s *scene) {
			s.sample(noon.Add(2*time.Hour), s.Samples[len(s.Samples)-1].Committed)
			s.Samples[len(s.Samples)-1].Open = []history.OpenTransaction{{Name: "chaos-g-w-0", State: "Ongoing", Since: noon.Add(time.Hour)}}
		}, Closed, "after a kill was healed"},

		"commits that do not go on": {func(s *scene) {
			for i := range s.Samples {
				if s.Samples[i].At.After(s.Faults[0].Began) && i < len(s.Samples)-1 {
					s.Samples[i].Committed = s.Samples[10].Committed
				}
			}
		}, Resumed, "after a kill was healed"},
		"a partition that does not go on": {func(s *scene) {
			for i := range s.Samples {
				if s.Samples[i].At.After(s.Faults[0].Began) && i < len(s.Samples)-1 {
					s.Samples[i].Committed = slices.Clone(s.Samples[i].Committed)
					s.Samples[i].Committed[1] = s.Samples[10].Committed[1]
				}
			}
		}, Resumed, "partition 1 stood"},
		"nothing known after a fault": {func(s *scene) {
			s.Samples = slices.DeleteFunc(s.Samples, func(x history.Sample) bool {
				return x.At.After(s.Faults[0].Began) && x.At.Before(noon.Add(time.Minute))
			})
		}, Resumed, "nothing is known"},

		"an abort":         {func(s *scene) { s.spares(workload.Status{Aborts: 4, Injected: 3, Recoveries: 1}) }, Spared, "has aborted 1 trans"},
		"another producer": {func(s *scene) { s.spares(workload.Status{Recoveries: 2}) }, Spared, "given up its producer 1 times"},
		"goroutines":       {func(s *scene) { s.says(workload.Status{At: noon, Goroutines: 101}) }, Bounded, "101 goroutines"},
		"heap":             {func(s *scene) { s.says(workload.Status{At: noon, Heap: 2 << 20}) }, Bounded, "a heap of"},
		"RSS":              {func(s *scene) { s.says(workload.Status{At: noon, RSS: 3 << 20}) }, Bounded, "resident"},

		"a fault that missed": {func(s *scene) { s.Counters[0].Got = 0 }, Hit, "kills: 0, less than 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			c.plant(s)
			report := Judge(s.Evidence)
			if !slices.ContainsFunc(report.Violations, func(v Violation) bool { return v.Invariant == c.of && strings.Contains(v.Text, c.text) }) {
				t.Errorf("%v: %q not found in\n%v", c.of, c.text, report)
			}
			if !report.Violated(c.of) || !strings.Contains(report.String(), "VIOLATED") {
				t.Error("the report does not say so")
			}
		})
	}
}

// TestReachIsTheLargestOffset also where the order is violated, and also for positions
// that go back.
func TestReachIsTheLargestOffset(t *testing.T) {
	log := &history.Log{}
	log.Records[workload.Right] = [][]history.Record{nil, {{Offset: 5, Source: 9}, {Offset: 7, Source: 1}, {Offset: 8, Source: 9, Partition: 1}, {Partition: -1}, {Partition: 2}}}
	all := progress(2, log)
	if len(all[0]) != 1 || len(all[1]) != 1 || all[0][0].at != (at{workload.Right, 1}) {
		t.Fatalf("%+v", all)
	}
	for _, c := range [][2]int64{{2, 7}, {10, 7}, {0, -1}, {1, -1}, {9, 7}, {1, -1}, {10, 7}} {
		if got := all[0][0].before(c[0]); got != c[1] {
			t.Errorf("before %d: %d, want %d", c[0], got, c[1])
		}
	}
	for _, c := range [][2]int64{{9, -1}, {10, 8}, {9, -1}} {
		if got := all[1][0].before(c[0]); got != c[1] {
			t.Errorf("of partition 1 before %d: %d, want %d", c[0], got, c[1])
		}
	}
}

// TestWhatIsNoViolation has things in it that look like one.
func TestWhatIsNoViolation(t *testing.T) {
	for name, change := range map[string]func(*scene){
		"a record refused by the broker is in no unit": func(s *scene) {
			p := s.Expectation.end(0)
			s.Expectation.Add(0, p, []byte("key-0"), []byte("b12345678filler"))
			r := history.Record{Source: p, Key: history.Hash([]byte("key-0")), Value: history.Hash([]byte("b12345678filler"))}
			q := int(r.Key % sceneOutputs)
			s.both(func(l *history.Log) {
				r.Offset = int64(len(l.Records[workload.DeadLetters][q]))
				l.Records[workload.DeadLetters][q] = append(slices.Clone(l.Records[workload.DeadLetters][q]), r)
			})
			last := s.Samples[len(s.Samples)-1]
			last.Committed[0]++
			last.High[workload.DeadLetters][q]++
		},
		"no units at all": func(s *scene) {
			s.Reread.Manifests = nil
			for _, l := range []*history.Log{s.Reread, s.Live[0]} {
				l.Records[workload.Manifests] = nil
				for _, topic := range []int{workload.Left, workload.Right} {
					for p := range l.Records[topic] {
						for i := range l.Records[topic][p] {
							l.Records[topic][p][i].Unit = 0
						}
					}
				}
			}
		},
		"aborts that were made to be": func(s *scene) { s.spares(workload.Status{Aborts: 3, Injected: 3, Recoveries: 1}) },
		"aborts where there may be some": func(s *scene) {
			s.spares(workload.Status{Aborts: 3, Recoveries: 4})
			s.Spares = false
		},
		"positions that were not known": func(s *scene) {
			s.Samples[3].Committed = []int64{history.Unknown}
			s.Samples[4].High = history.Ends{}
		},
		"nothing left to commit": func(s *scene) {
			end := s.Samples[len(s.Samples)-1].Committed
			s.Samples = s.Samples[:len(s.Samples)-1]
			for _, minute := range []time.Duration{1, 3, 60} {
				s.sample(noon.Add(minute*time.Minute), end)
				s.Samples[len(s.Samples)-1].Input = end
			}
			s.Faults[0].Began, s.Faults[0].Healed = noon.Add(2*time.Minute), noon.Add(2*time.Minute+45*time.Second)
		},
		"a fault soon after another": func(s *scene) {
			for i := range s.Samples {
				if s.Samples[i].At.After(s.Faults[0].Began) && i < len(s.Samples)-1 {
					s.Samples[i].Committed = s.Samples[10].Committed
				}
			}
			s.Faults = append(s.Faults, Fault{Name: "another", Began: noon.Add(20 * time.Second), Healed: noon.Add(59*time.Minute + 50*time.Second)})
		},
		"keys in the partitions of a topic that grew twice": func(s *scene) {
			s.Growths[workload.Left] = []int32{2, 3, 4}
			s.moved(workload.Left, 2)
			s.moved(workload.Left, 3)
		},
		"partitions of the input that were added": func(s *scene) {
			for i := range s.Samples[:len(s.Samples)-1] {
				if s.Samples[i].Committed[2] == 0 {
					s.Samples[i].Input = s.Samples[i].Input[:2]
					s.Samples[i].Committed = s.Samples[i].Committed[:2]
				}
			}
		},
		"a partition of the input without any": func(s *scene) {
			s.Expectation.partitions = append(s.Expectation.partitions, expectedPartition{})
		},
		"an old transaction while brokers are down": func(s *scene) {
			s.Samples[12].Open = []history.OpenTransaction{{Name: "chaos-g-w-0", State: "Ongoing", Since: noon.Add(-time.Hour)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			change(s)
			if err := Judge(s.Evidence).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}
