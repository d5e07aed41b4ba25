//go:build real || three

package send

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
)

// ledger knows what was sent to a topic and what became of it, and compares that
// with what an independent client reads.
type ledger struct {
	topic string

	mu    sync.Mutex
	parts [][]line
	txns  []fate
	acked []int // by partition
	twice int   // outcomes beyond a record's first
}

// line is one record; its place in the partition's list is its number.
type line struct {
	txn  int // -1: none
	told bool
	err  error
}

// fate is how a transaction ended as far as the producer knows.
type fate uint8

const (
	unknown fate = iota
	committed
	aborted
)

func newLedger(topic string, partitions int) *ledger {
	return &ledger{topic: topic, parts: make([][]line, partitions), acked: make([]int, partitions)}
}

// ticket is a record's Completion.
type ticket struct {
	l      *ledger
	part   int32
	number int
}

const ledgerValue = 100

// record makes the next record of a partition.
func (l *ledger) record(part int32, txn int) *Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.parts[part])
	l.parts[part] = append(l.parts[part], line{txn: txn})
	value := make([]byte, ledgerValue)
	binary.BigEndian.PutUint64(value, uint64(n))
	return &Record{Topic: l.topic, Partition: part, Value: value, Done: &ticket{l, part, n}}
}

// refused takes note that a record was not taken: there will be no outcome.
func (l *ledger) refused(r *Record, err error) {
	r.Done.Complete(-1, time.Time{}, err)
}

// Complete implements Completion.
func (t *ticket) Complete(_ int64, _ time.Time, err error) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	x := &t.l.parts[t.part][t.number]
	if x.told {
		t.l.twice++
	}
	x.told, x.err = true, err
	if err == nil {
		t.l.acked[t.part]++
	}
}

// begin notes a new transaction, unknown until ended is called.
func (l *ledger) begin() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.txns = append(l.txns, unknown)
	return len(l.txns) - 1
}

func (l *ledger) ended(txn int, f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.txns[txn] = f
}

// count returns how many transactions ended in a way.
func (l *ledger) count(f fate) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.txns {
		if x == f {
			n++
		}
	}
	return n
}

// acknowledged returns the acknowledged records by partition.
func (l *ledger) acknowledged() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int(nil), l.acked...)
}

// failures returns the errors of the records that failed.
func (l *ledger) failures() (errs []error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, part := range l.parts {
		for _, x := range part {
			if x.err != nil {
				errs = append(errs, x.err)
			}
		}
	}
	return errs
}

// finding is what a ledger's check came to.
type finding struct {
	read, acked, failed                      int
	lost, doubled, disordered, visible, torn int // visible: of transactions that were aborted
	untold, twice                            int
	committed, aborted, unknown              int // transactions
	last                                     int // transaction of which something is visible
	first                                    []string
}

func (f *finding) note(n *int, format string, args ...any) {
	*n++
	if len(f.first) < 5 {
		f.first = append(f.first, fmt.Sprintf(format, args...))
	}
}

func (f *finding) wrong() bool {
	return f.lost+f.doubled+f.disordered+f.visible+f.torn+f.untold+f.twice > 0
}

func (f *finding) String() string {
	return fmt.Sprintf("read=%d acked=%d failed=%d lost=%d doubled=%d disordered=%d visible=%d torn=%d untold=%d twice=%d committed=%d aborted=%d unknown=%d %s",
		f.read, f.acked, f.failed, f.lost, f.doubled, f.disordered, f.visible, f.torn, f.untold, f.twice, f.committed, f.aborted, f.unknown, strings.Join(f.first, "; "))
}

// check reads what is committed and compares. The producer must be closed or at
// rest.
func (l *ledger) check(c *checktest.Client) *finding {
	c.AwaitVisible(l.topic)
	read := c.Read(l.topic)
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &finding{twice: l.twice, last: -1}
	in, out := make([]int, len(l.txns)), make([]int, len(l.txns)) // records of a transaction that are there, and that are not
	for part, lines := range l.parts {
		seen := f.order(int32(part), read[int32(part)], len(lines))
		for n, x := range lines {
			f.judge(l, part, n, x, seen[n] > 0)
			switch {
			case x.txn < 0:
			case seen[n] > 0:
				in[x.txn]++
				f.last = max(f.last, x.txn)
			default:
				out[x.txn]++
			}
		}
	}
	for txn, x := range l.txns {
		switch x {
		case committed:
			f.committed++
		case aborted:
			f.aborted++
		default:
			f.unknown++
			if in[txn] > 0 && out[txn] > 0 {
				f.note(&f.torn, "torn: transaction %d: %d records are visible, %d not", txn, in[txn], out[txn])
			}
		}
	}
	return f
}

// order looks at the records of a partition, and returns how often each is there.
func (f *finding) order(part int32, records []*kgo.Record, n int) []int {
	seen := make([]int, n)
	last := -1
	for _, r := range records {
		f.read++
		at := int(binary.BigEndian.Uint64(r.Value))
		seen[at]++
		switch {
		case seen[at] > 1:
			f.note(&f.doubled, "doubled: [%d]@%d: number %d", part, r.Offset, at)
		case at < last:
			f.note(&f.disordered, "disordered: [%d]@%d: number %d after %d", part, r.Offset, at, last)
		default:
			last = at
		}
	}
	return seen
}

func (f *finding) judge(l *ledger, part, n int, x line, there bool) {
	if !x.told {
		f.note(&f.untold, "untold: [%d] number %d", part, n)
	}
	if x.err != nil {
		f.failed++
	} else {
		f.acked++
	}
	switch {
	case x.txn < 0:
		if x.told && x.err == nil && !there {
			f.note(&f.lost, "lost: [%d] number %d was acknowledged", part, n)
		}
	case l.txns[x.txn] == committed && (!there || x.err != nil):
		f.note(&f.lost, "lost: [%d] number %d of committed transaction %d, its outcome: %v", part, n, x.txn, x.err)
	case l.txns[x.txn] == aborted && there:
		f.note(&f.visible, "visible: [%d] number %d of aborted transaction %d", part, n, x.txn)
	}
}

// freshName is one that no other test and no other run has.
func freshName(prefix string) string {
	return prefix + "-" + strconv.FormatInt(time.Now().UnixNano(), 36)
}
