package check

import (
	"encoding/binary"
	"runtime"
	"testing"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// TestTwoMillionOutputsFitIntoAGigabyte judges as many as a long run makes, with one
// live reader. The values are small, since none is kept.
func TestTwoMillionOutputsFitIntoAGigabyte(t *testing.T) {
	const inputs, partitions, unit = 1_000_000, 9, 1000
	s := &scene{t: t, Evidence: Evidence{Expectation: NewExpectation(), History: &history.History{Reread: &history.Log{Units: history.NewUnits()}}}}
	for topic := range s.Reread.Records {
		s.Reread.Records[topic] = make([][]history.Record, sceneOutputs)
	}
	value := append([]byte{byte(workload.Regular)}, make([]byte, 16)...)
	key := []byte("key-0000")
	var manifests [partitions]workload.Manifest
	committed := make([]int64, partitions)
	for n := range uint64(inputs) {
		p, offset := int32(n%partitions), int64(n/partitions)
		binary.BigEndian.PutUint64(value[1:], n)
		binary.BigEndian.PutUint32(key[4:], uint32(n%9000))
		s.Expectation.Add(p, offset, key, value)
		m := &manifests[p]
		if m.Unit == "" {
			*m = workload.Manifest{Unit: string(key) + string(value), Partition: p, First: offset}
		}
		m.Last = offset
		workload.Model(value, func(out workload.Expected) { s.write(m, offset, key, out) })
		if committed[p] = offset + 1; committed[p]%unit == 0 || n >= inputs-partitions {
			s.Reread.Manifests = append(s.Reread.Manifests, *m)
			*m = workload.Manifest{}
			s.sample(noon, committed)
		}
	}
	live := *s.Reread
	for topic := range live.Records {
		live.Records[topic] = nil
		for _, records := range s.Reread.Records[topic] {
			live.Records[topic] = append(live.Records[topic], append([]history.Record(nil), records...))
		}
	}
	s.Live = []*history.Log{&live}
	report := Judge(s.Evidence)
	if err := report.Err(); err != nil || s.Expectation.Outputs() < 1_900_000 {
		t.Errorf("%v\n%v", err, report)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d outputs, %d MiB", s.Expectation.Outputs(), m.Sys>>20)
	if m.Sys > 1<<30 {
		t.Errorf("%d MiB", m.Sys>>20)
	}
}
