package check

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// long is a long run in which nothing went wrong.
type long struct {
	inputs, partitions, outputs     int // outputs: partitions of each topic
	units, aborted, samples, faults int
}

// scene makes its evidence, with one live reader. The run takes an hour, and a fault a
// third of the time to the next. The values are small, since none is kept.
func (l long) scene(t testing.TB) *scene {
	s := &scene{t: t, Evidence: Evidence{Expectation: NewExpectation(false), History: &history.History{Reread: &history.Log{Name: "reread", Units: history.NewUnits()}}}}
	for topic := range s.Reread.Records {
		s.Reread.Records[topic] = make([][]history.Record, l.outputs)
	}
	at := func(n int) time.Time {
		return noon.Add(time.Duration(float64(n) / float64(l.inputs) * float64(time.Hour)))
	}
	value := append([]byte{byte(workload.Regular)}, make([]byte, 16)...)
	key := []byte("key-0000")
	manifests := make([]workload.Manifest, l.partitions)
	committed := make([]int64, l.partitions)
	unit := max(1, l.inputs/l.units)
	for n := range l.inputs {
		p, offset := int32(n%l.partitions), int64(n/l.partitions)
		binary.BigEndian.PutUint64(value[1:], uint64(n))
		binary.BigEndian.PutUint32(key[4:], uint32(n%(1000*l.partitions)))
		s.Expectation.Add(p, offset, key, value)
		m := &manifests[p]
		if m.Unit == "" {
			*m = workload.Manifest{Unit: fmt.Sprintf("w0-1-%d-%d", p, offset), Partition: p, First: offset}
		}
		m.Last = offset
		workload.Model(value, 0, func(out workload.Expected) { s.write(m, offset, key, out) })
		last := n >= l.inputs-l.partitions
		if (int(offset)+1)%unit == 0 || last {
			committed[p] = offset + 1
			s.hand(m)
		}
		if n%(max(1, l.inputs/l.samples)) == 0 || n == l.inputs-1 {
			s.sample(at(n), committed)
			for p := range l.partitions {
				s.Samples[len(s.Samples)-1].Input[p] = int64(n/l.partitions) + 1
			}
		}
	}
	live := *s.Reread
	live.Name = "live"
	for topic := range live.Records {
		live.Records[topic] = nil
		for _, records := range s.Reread.Records[topic] {
			live.Records[topic] = append(live.Records[topic], slices.Clone(records))
		}
	}
	s.Live = []*history.Log{&live}
	w := &history.Worker{Name: "w0"}
	s.Workers = []*history.Worker{w}
	status := workload.Status{At: noon, Incarnation: "1"}
	for i := range l.aborted {
		name := fmt.Sprintf("w0-1-aborted-%d", i)
		status.Aborted = append(status.Aborted, name)
		if i%2 == 0 {
			s.Reread.Units.ID([]byte(name)) // known, and not to be found
		}
	}
	s.says(status)
	for i := range l.faults {
		began := at(i * l.inputs / l.faults)
		s.Faults = append(s.Faults, Fault{Name: fmt.Sprint("fault ", i), Kind: fmt.Sprint("kind ", i%5), Began: began, Healed: began.Add(time.Hour / time.Duration(3*l.faults))})
	}
	return s
}

// hour is a quarter of what a run of an hour has, but with ten times the aborted units.
var hour = long{inputs: 500_000, partitions: 12, outputs: 6, units: 20_000, aborted: 30_000, samples: 5000, faults: 60}

// TestAnHourIsJudgedInSeconds, within a gigabyte: it takes less than one, or minutes if
// all records are looked at for each aborted unit.
func TestAnHourIsJudgedInSeconds(t *testing.T) {
	s := hour.scene(t)
	began := time.Now()
	report := Judge(s.Evidence)
	took := time.Since(began)
	if err := report.Err(); err != nil || s.Expectation.Outputs() < 900_000 {
		t.Errorf("%v\n%v", err, report)
	}
	if took > 15*time.Second {
		t.Errorf("judged in %v", took)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d outputs, judged in %v, %d MiB", s.Expectation.Outputs(), took, m.Sys>>20)
	if m.Sys > 1<<30 {
		t.Errorf("%d MiB", m.Sys>>20)
	}
	sums := Summarize(Recoveries(s.Samples, s.Faults))
	if len(sums) != 6 || sums[0].Recovered != hour.faults {
		t.Errorf("recoveries: %v", sums)
	}
}

// BenchmarkJudge of the hour, and of one with many partitions of the input.
func BenchmarkJudge(b *testing.B) {
	many := hour
	many.partitions, many.units = 1000, 250_000
	for name, l := range map[string]long{"12": hour, "1000": many} {
		b.Run(name, func(b *testing.B) {
			s := l.scene(b)
			b.ReportAllocs()
			for b.Loop() {
				if err := Judge(s.Evidence).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
