package checktest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Report is what the checker found in an output topic.
type Report struct {
	// Want is the number of records in the input, Got that in the output.
	Want, Got int64
	// Duplicates are records beyond the first of an id, Missing ids without one.
	Duplicates, Missing int64
	// Bad are records of which something was changed, or that are in another
	// partition than their input, or that nobody wrote.
	Bad int64
	// Disordered are records that come before one they should follow.
	Disordered int64
	// Hanging are offsets behind a transaction that was left open, which a reader
	// of committed records does not get to.
	Hanging int64
	// First describes the first things found wrong.
	First []string
}

// maxFirst is how many findings a report describes.
const maxFirst = 5

func (r *Report) note(format string, args ...any) {
	if len(r.First) < maxFirst {
		r.First = append(r.First, fmt.Sprintf(format, args...))
	}
}

// Exact is nil if the output is the input: each record once, none missing, none
// changed, in the order of its partition, all of it visible.
func (r *Report) Exact() error {
	if r.Duplicates > 0 {
		return errors.New(r.String())
	}
	return r.Complete()
}

// Complete is Exact except for duplicates: what is promised at least once.
func (r *Report) Complete() error {
	if r.Missing > 0 || r.Bad > 0 || r.Disordered > 0 || r.Hanging > 0 {
		return errors.New(r.String())
	}
	return nil
}

// String lists the counts, and what was found first.
func (r *Report) String() string {
	s := fmt.Sprintf("records=%d duplicates=%d missing=%d bad=%d disordered=%d hanging=%d", r.Got, r.Duplicates, r.Missing, r.Bad, r.Disordered, r.Hanging)
	if len(r.First) > 0 {
		s += ": " + strings.Join(r.First, "; ")
	}
	return s
}

// Compare looks at every record of two topics with the same number of partitions,
// of which the second should be a copy of the first with headers appended. The
// input must hold the records 0..n-1 that Record makes, each once.
func (c *Client) Compare(input, output string, n uint64, appended ...kgo.RecordHeader) *Report {
	c.t.Helper()
	rep := &Report{Want: int64(n)}
	place := make([]uint32, n) // position in the input's partition, plus one
	home := make([]int32, n)
	next := map[int32]uint32{}
	err := c.each(input, func(r *kgo.Record) {
		id, err := identify(r, nil)
		if err != nil || id >= n || place[id] != 0 {
			c.t.Fatalf("the input itself is wrong: %s[%d]@%d: id %d of %d: %v", input, r.Partition, r.Offset, id, n, err)
		}
		next[r.Partition]++
		place[id], home[id] = next[r.Partition], r.Partition
	})
	if err != nil {
		c.t.Fatalf("read %q: %v", input, err)
	}

	for id := range place {
		if place[id] == 0 {
			c.t.Fatalf("the input itself is wrong: id %d of %d is not in %s; ends %v", id, n, input, next)
		}
	}

	rep.Hanging = c.hanging(output)
	seen := make([]bool, n)
	last := map[int32]uint32{}
	err = c.each(output, func(r *kgo.Record) {
		rep.Got++
		id, err := identify(r, appended)
		switch {
		case err != nil:
			rep.Bad++
			rep.note("bad: [%d]@%d: %v", r.Partition, r.Offset, err)
		case id >= n:
			rep.Bad++
			rep.note("bad: [%d]@%d: id %d was never written", r.Partition, r.Offset, id)
		case home[id] != r.Partition:
			rep.Bad++
			rep.note("bad: [%d]@%d: id %d belongs in partition %d", r.Partition, r.Offset, id, home[id])
		case seen[id]:
			rep.Duplicates++
			rep.note("duplicate: [%d]@%d: id %d", r.Partition, r.Offset, id)
			return
		case place[id] < last[r.Partition]:
			rep.Disordered++
			rep.note("disordered: [%d]@%d: id %d, number %d of its partition, after number %d", r.Partition, r.Offset, id, place[id], last[r.Partition])
		default:
			last[r.Partition] = place[id]
		}
		if id < n {
			seen[id] = true
		}
	})
	if err != nil {
		c.t.Fatalf("read %q: %v", output, err)
	}
	for id := range seen {
		if !seen[id] {
			rep.Missing++
			rep.note("missing: id %d, number %d of partition %d", id, place[id], home[id])
		}
	}
	return rep
}

// hanging counts the offsets that open transactions hide.
func (c *Client) hanging(topic string) (n int64) {
	c.t.Helper()
	visible := c.Ends(topic, true)
	for p, end := range c.Ends(topic, false) {
		n += end - visible[p]
	}
	return n
}
