package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// offsets are ranges of offsets, or of other numbers that are not negative: sorted, and
// with gaps between them. As text they are 17-25,40.
type offsets []span

// span holds its first and its last offset, too.
type span struct{ first, last int64 }

// parseOffsets reads what String writes, in any order.
func parseOffsets(s string) (offsets, error) {
	var o offsets
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.ParseUint(from, 10, 63)
		last, lerr := strconv.ParseUint(to, 10, 63)
		if err != nil || lerr != nil || last < first {
			return nil, fmt.Errorf("want numbers and ranges as 17-25,40, not %q", clipText(part, 40))
		}
		o = append(o, span{int64(first), int64(last)})
	}
	return o.sorted(), nil
}

// sorted sorts ranges that were appended and joins those that touch.
func (o offsets) sorted() offsets {
	slices.SortFunc(o, func(a, b span) int { return cmp.Compare(a.first, b.first) })
	out := o[:0]
	for _, s := range o {
		if n := len(out); n > 0 && s.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, s.last)
			continue
		}
		out = append(out, s)
	}
	return out
}

// add appends an offset that is behind all others.
func (o offsets) add(offset int64) offsets {
	if n := len(o); n > 0 && o[n-1].last+1 == offset {
		o[n-1].last = offset
		return o
	}
	return append(o, span{offset, offset})
}

func (o offsets) has(offset int64) bool {
	_, found := slices.BinarySearchFunc(o, offset, func(s span, offset int64) int {
		switch {
		case s.last < offset:
			return -1
		case s.first > offset:
			return 1
		}
		return 0
	})
	return found
}

func (o offsets) String() string {
	var b strings.Builder
	for i, s := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(s.first, 10))
		if s.last > s.first {
			b.WriteByte('-')
			b.WriteString(strconv.FormatInt(s.last, 10))
		}
	}
	return b.String()
}

// Set makes it a flag.
func (o *offsets) Set(s string) (err error) {
	*o, err = parseOffsets(s)
	return err
}
