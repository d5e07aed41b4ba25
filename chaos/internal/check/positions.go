package check

import (
	"cmp"
	"slices"
	"sort"

	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// CheckPositions follows the committed positions: at the end they are the input's
// end, on the way they never went back, and whenever one was committed, the outputs of
// everything before it were in the log already.
func CheckPositions(x *Expectation, log *history.Log, samples []history.Sample) []Violation {
	f := findings{of: Positions}
	if len(samples) == 0 {
		f.add("nothing is known of what was committed")
		return f.all()
	}
	last := make([]int64, len(x.partitions))
	reached := progress(len(x.partitions), log)
	for _, s := range samples {
		for p := range x.partitions {
			committed := committedAt(s, p)
			if committed == history.Unknown {
				continue
			}
			if committed < last[p] {
				f.add("partition %d went back from %d to %d at %s", p, last[p], committed, clock(s.At))
			}
			last[p] = committed
			if end := x.end(int32(p)); committed > end {
				f.add("partition %d is committed up to %d, of %d", p, committed, end)
			}
			for i := range reached[p] {
				o := &reached[p][i]
				high := s.High.At(o.topic, o.partition)
				if offset := o.before(committed); high != history.Unknown && offset >= high {
					f.add("partition %d was committed up to %d at %s, while %s[%d] ended at %d, before %d, which comes from an input before it",
						p, committed, clock(s.At), topicName(o.topic), o.partition, high, offset)
				}
			}
		}
	}
	for p := range x.partitions {
		if end := x.end(int32(p)); last[p] < end {
			f.add("partition %d is committed up to %d of %d at the end", p, last[p], end)
		}
	}
	return f.all()
}

func committedAt(s history.Sample, partition int) int64 {
	if partition >= len(s.Committed) {
		return history.Unknown
	}
	return s.Committed[partition]
}

// reach is how far an output partition's log must be for the input of one partition.
type reach struct {
	at
	sources []int64 // offsets of inputs, ascending
	offsets []int64 // the largest offset of an output of these and all inputs before
	next    int     // the first of sources that was not before the last one asked for
}

// before returns the largest offset of an output of inputs before source, or -1. It
// goes on from where the last call ended, for positions mostly go on as well.
func (r *reach) before(source int64) int64 {
	if r.next > 0 && r.sources[r.next-1] >= source {
		r.next = sort.Search(r.next, func(i int) bool { return r.sources[i] >= source })
	}
	for r.next < len(r.sources) && r.sources[r.next] < source {
		r.next++
	}
	if r.next == 0 {
		return -1
	}
	return r.offsets[r.next-1]
}

// progress makes the reaches by input partition.
func progress(partitions int, log *history.Log) [][]reach {
	all := make([][]reach, partitions)
	for topic := range workload.Manifests {
		for p, records := range log.Records[topic] {
			for source, of := range bySource(partitions, records) {
				if len(of) > 0 {
					all[source] = append(all[source], reachOf(at{topic, p}, of))
				}
			}
		}
	}
	return all
}

// bySource sorts records by the partition of their input.
func bySource(partitions int, records []history.Record) [][]*history.Record {
	of := make([][]*history.Record, partitions)
	for i := range records {
		if p := records[i].Partition; p >= 0 && int(p) < partitions {
			of[p] = append(of[p], &records[i])
		}
	}
	return of
}

// reachOf makes the reach of records that come from one partition.
func reachOf(where at, of []*history.Record) reach {
	slices.SortStableFunc(of, func(a, b *history.Record) int { return cmp.Compare(a.Source, b.Source) })
	r := reach{at: where, sources: make([]int64, len(of)), offsets: make([]int64, len(of))}
	high := int64(-1)
	for i, rec := range of {
		high = max(high, rec.Offset)
		r.sources[i], r.offsets[i] = rec.Source, high
	}
	return r
}
