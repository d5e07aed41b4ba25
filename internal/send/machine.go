package send

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// machine is the state behind the accumulator. One goroutine at a time.
type machine struct {
	cfg   *Config
	acc   *accumulator
	w     world
	log   *slog.Logger
	rnd   *rand.Rand
	stats *stats

	parts  []*partition
	nodes  map[int32]*node     // live connections
	addrs  map[int32]string    // as of the latest view
	redial map[int32]time.Time // not before

	wantView bool
	viewing  bool
	viewedAt time.Time
	viewNext time.Time
	viewFail int
	asked    map[string]*lookup // topics that somebody waits for

	id         identity
	onIdentity []func() // called when the identity that is asked for is there
	tx         transaction
	linger     linger

	calls   []*call // in order; the first may be under way
	calling bool
	callAt  time.Time

	closing bool
	gone    error // why nothing can be sent any more
}

// partition is one partition of a topic. Its first part belongs to the callers,
// under mu; all else is the machine's.
type partition struct {
	topic string
	id    int32
	stats *stats

	mu        sync.Mutex
	current   *batch
	ready     []*batch
	lastCount int32 // records in the batch before
	taken     int64 // records in all batches before
	closed    error // nothing is taken any more

	queue  []*batch // sealed, never sent
	sent   []*batch // sent and not settled, in order
	on     *node    // where they are flying
	flying int

	leader, leaderEpoch int32

	retry     bool // the head of sent goes alone, after the others are back
	fails     int
	cause     error // why the last attempt failed, nil after a success
	notBefore time.Time

	// Numbering, for idempotence.
	pid      int64
	epoch    int16
	next     int32 // sequence of the next batch
	order    int64 // batches numbered so far
	acked    int64 // order of the last acknowledged batch
	base     int64 // order of the first batch of this epoch
	hole     bool  // a numbered batch was given up: its fate is unknown
	renumber bool  // take the next epoch when nothing is flying

	inTxn    bool // the coordinator knows that it is part of the transaction
	adding   bool
	verified bool // its broker knows so, too: something of the transaction is acknowledged
}

// lookup is a wish to know a topic.
type lookup struct {
	waiters []func(error)
	expires time.Time
}

func newMachine(cfg *Config, acc *accumulator, w world, rnd *rand.Rand, st *stats) *machine {
	st.linger.Store(int64(cfg.Linger))
	return &machine{
		cfg: cfg, acc: acc, w: w, log: cfg.Logger, rnd: rnd, stats: st,
		nodes: map[int32]*node{}, addrs: map[int32]string{}, redial: map[int32]time.Time{}, asked: map[string]*lookup{},
		id:     identity{pid: -1, epoch: -1},
		linger: linger{least: cfg.Linger, most: cfg.LingerMax, now: cfg.Linger, batchSize: int64(cfg.BatchSize)},
	}
}

func (m *machine) transactional() bool { return m.cfg.TransactionalID != "" }

// step does all that can be done now, and returns when to be called again at the
// latest.
func (m *machine) step(now time.Time) time.Time {
	next := m.collect(now)
	next = earlier(next, m.expire(now))
	m.resolve(now)
	m.addPartitions(now)
	next = earlier(next, m.dispatch(now))
	next = earlier(next, m.refresh(now))
	return earlier(next, m.nextCall(now))
}

// earlier returns the earlier of two times, of which zero means never.
func earlier(a, b time.Time) time.Time {
	switch {
	case a.IsZero():
		return b
	case b.IsZero() || a.Before(b):
		return a
	default:
		return b
	}
}

// collect takes over what the callers have sealed or left lingering.
func (m *machine) collect(now time.Time) (next time.Time) {
	m.linger.adapt(m.stats, now)
	wait := m.linger.now
	if m.closing || m.acc.rounds.pending() || m.acc.mem.waiting() {
		wait = 0
	}
	next, aged := m.collectOlder(now, wait)
	if m.linger.adaptive() && wait > 0 {
		next = m.collectMore(now, next, aged)
	}
	return next
}

// collectOlder takes over what is sealed, and what is as old as wait and may leave. It
// reports when the next will be so old, and whether one was.
func (m *machine) collectOlder(now time.Time, wait time.Duration) (next time.Time, aged bool) {
	hurried := time.Unix(0, m.acc.hurried.Load())
	for _, pt := range m.parts {
		linger, hurried := wait, hurried
		if !m.mayLeave(pt) { // it fills up while it has to wait
			linger, hurried = m.cfg.DeliveryTimeout, time.Time{}
		}
		due, old := pt.collect(now, linger, hurried)
		next, aged = earlier(next, due), aged || old
		if len(pt.queue) > 0 && m.tx.refuses() {
			m.failQueue(pt, m.tx.why())
		}
	}
	return next, aged
}

// collectMore takes over what should travel with what has aged, and everything when no
// records come any more.
func (m *machine) collectMore(now, next time.Time, aged bool) time.Time {
	if aged {
		m.collectOlder(now, m.linger.now/2)
	}
	if next.IsZero() { // nothing waits
		return next
	}
	paused, again := m.linger.paused(m.taken, now)
	if !paused {
		return earlier(next, again)
	}
	next, _ = m.collectOlder(now, 0)
	return next
}

// taken is the number of records taken from the start.
func (m *machine) taken() (n int64) {
	for _, pt := range m.parts {
		pt.mu.Lock()
		n += pt.taken
		if pt.current != nil {
			n += int64(pt.current.count())
		}
		pt.mu.Unlock()
	}
	return n
}

// mayLeave reports whether a batch that is sealed now would be the next to go. While
// others wait before it, or nothing more may fly, sealing it would only make small
// batches of what could be a large one.
func (m *machine) mayLeave(pt *partition) bool {
	if m.closing || m.tx.refuses() {
		return true
	}
	n := m.nodes[pt.leader]
	return len(pt.queue) == 0 && !pt.retry && pt.flying < m.cfg.MaxInFlight && (pt.flying == 0 || !m.unproven(pt)) &&
		(n == nil || n.inFlight < m.cfg.MaxInFlight)
}

func (m *machine) failQueue(pt *partition, err error) {
	for _, b := range pt.queue {
		m.finish(b, result{offset: -1}, err)
	}
	clear(pt.queue)
	pt.queue = pt.queue[:0]
}

// finish tells a batch's records their outcome, once, and gives its memory back.
func (m *machine) finish(b *batch, r result, err error) {
	if err != nil {
		m.stats.recordsFailed.Add(int64(b.count()))
		if m.transactional() {
			m.tx.spoil(err)
		}
	} else {
		m.stats.recordsAcked.Add(int64(b.count()))
	}
	m.stats.leave(b)
	if b.hasDone {
		if err != nil {
			err = &Failure{Attempts: b.tries, Err: err}
		}
		i := 0
		for at := range b.body.Timestamps() {
			if d := b.done[i]; d != nil {
				d.Complete(r.of(i, at, err))
			}
			i++
		}
	}
	m.acc.settle(b)
}

// of is what a record's Done is told, given its timestamp.
func (r *result) of(i int, at int64, err error) (int64, time.Time, error) {
	offset, ts := int64(-1), r.appended
	if err == nil && r.offset >= 0 {
		offset = r.offset + int64(i)
	}
	if ts.IsZero() {
		ts = time.UnixMilli(at)
	}
	return offset, ts, err
}

// expire gives up batches whose delivery time-out has passed.
func (m *machine) expire(now time.Time) (next time.Time) {
	for _, pt := range m.parts {
		for len(pt.queue) > 0 {
			at := pt.queue[0].born.Add(m.cfg.DeliveryTimeout)
			if at.After(now) {
				next = earlier(next, at)
				break
			}
			b := pt.queue[0]
			pt.queue = shift(pt.queue)
			m.stats.expired.Add(1)
			m.finish(b, result{offset: -1}, pt.overdue())
		}
		next = earlier(next, m.expireSent(pt, now))
	}
	return next
}

// expireSent gives up sent batches that wait for another attempt. Those under way
// come back by their request time-out first. Whether they are in the log is
// unknown, so the sequence has a hole: rule 5.
func (m *machine) expireSent(pt *partition, now time.Time) (next time.Time) {
	keep := pt.sent[:0]
	for _, b := range pt.sent {
		at := b.born.Add(m.cfg.DeliveryTimeout)
		if b.flying || at.After(now) && !m.tx.refuses() {
			if !b.flying {
				next = earlier(next, at)
			}
			keep = append(keep, b)
			continue
		}
		err := pt.overdue()
		if at.After(now) {
			err = ErrAborted
		}
		m.stats.expired.Add(1)
		pt.hole = m.cfg.keeps(ruleHole)
		m.tx.lost = true
		m.finish(b, result{offset: -1}, err)
	}
	clear(pt.sent[len(keep):])
	pt.sent = keep
	if len(pt.sent) == 0 {
		pt.calm()
	}
	return next
}

func shift(q []*batch) []*batch {
	copy(q, q[1:])
	q[len(q)-1] = nil
	return q[:len(q)-1]
}

// calm ends a partition's retries.
func (pt *partition) calm() { pt.retry, pt.fails, pt.cause, pt.notBefore = false, 0, nil, time.Time{} }

// overdue is the error of a batch whose time is over, with what kept it.
func (pt *partition) overdue() error {
	if pt.cause == nil {
		return ErrDeliveryTimeout
	}
	return fmt.Errorf("%w; the last attempt: %w", ErrDeliveryTimeout, pt.cause)
}

// backoff is exponential with jitter, as Kafka's.
func (m *machine) backoff(fails int) time.Duration {
	d := m.cfg.RetryBackoff
	for i := 0; i < fails && d < m.cfg.RetryBackoffMax; i++ {
		d *= 2
	}
	d = min(d, m.cfg.RetryBackoffMax)
	return time.Duration(float64(d) * (0.8 + 0.4*m.rnd.Float64()))
}

// concurrentBackoff is short: the markers of the transaction before are being
// written, which takes milliseconds, and nothing can be sent before.
const concurrentBackoff = 2 * time.Millisecond

// pause is how long to wait after a failure, given how many there were before it.
func (m *machine) pause(before int, cause error) time.Duration {
	if errors.Is(cause, sarama.ErrConcurrentTransactions) {
		return min(concurrentBackoff<<max(0, before-9), m.cfg.RetryBackoff)
	}
	return m.backoff(before)
}

// retryLater has a batch sent again, and those after it: in order, the head alone,
// each with the sequence it has: rule 4. What flew behind the head and failed with
// it is the same failure: it does not make the pause longer.
func (m *machine) retryLater(pt *partition, b *batch, cause error, now time.Time) {
	if !pt.retry || pt.sent[0] == b {
		pt.notBefore = now.Add(m.pause(pt.fails, cause))
		pt.fails++
	}
	pt.retry, pt.cause = true, cause
}

// connection returns the node of a broker, a new one if the last has failed, or
// nil and when to try again.
func (m *machine) connection(id int32, now time.Time) (*node, time.Time) {
	if n := m.nodes[id]; n != nil {
		return n, time.Time{}
	}
	addr, known := m.addrs[id]
	if !known {
		return nil, time.Time{}
	}
	if at := m.redial[id]; at.After(now) {
		return nil, at
	}
	n := &node{id: id, addr: addr}
	m.nodes[id] = n
	return n, time.Time{}
}

// drop gives a connection up after its first error.
func (m *machine) drop(n *node, now time.Time) {
	if m.nodes[n.id] != n {
		return
	}
	delete(m.nodes, n.id)
	m.redial[n.id] = now.Add(m.backoff(0))
	m.stats.disconnects.Add(1)
	m.w.hangUp(n)
}

// close fails everything that has no outcome. What is under way comes back soon,
// since its connections are cut.
func (m *machine) close() {
	m.closing = true
	m.perish(ErrClosed)
	for _, id := range slices.Sorted(maps.Keys(m.nodes)) {
		m.drop(m.nodes[id], time.Time{})
	}
	for _, c := range m.calls {
		c.dropped = true
	}
	for _, topic := range slices.Sorted(maps.Keys(m.asked)) {
		m.answerLookup(topic, ErrClosed)
	}
}

// finished reports whether nothing is left to come back.
func (m *machine) finished() bool {
	if !m.closing || m.calling || m.viewing || len(m.calls) > 0 {
		return false
	}
	for _, pt := range m.parts {
		if pt.flying > 0 {
			return false
		}
	}
	return true
}
