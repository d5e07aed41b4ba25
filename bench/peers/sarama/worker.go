//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// runLength bounds how many records a claim hands over under one hold of the gate: enough that
// the lock costs nothing per record, few enough that a commit does not wait long.
const runLength = 256

// errAborted ends a session whose transaction was aborted. sarama cannot seek within a session;
// the next one starts at the committed offsets, which is where the aborted records are.
var errAborted = errors.New("transaction aborted")

// worker is one member of the group with one transactional producer, which outlives sessions.
//
// The gate makes a transaction hold exactly the records whose offsets it carries: claims write
// under its read lock, and whoever commits holds it alone.
type worker struct {
	o      options
	config *sarama.Config

	unread atomic.Int64  // input records not yet handed to the producer; a hint only
	hurry  chan struct{} // asks for a commit before its time, since nothing more will come
	done   chan struct{} // closed when the input is committed to its ends

	gate     sync.RWMutex
	producer sarama.AsyncProducer
	drained  chan struct{} // closed when the producer's errors are read to their end
	open     bool          // a transaction has begun
	session  *session

	ends       map[int32]int64 // of the partitions that are not committed to their ends yet
	total      int64           // records up to the ends
	committed  int64
	lastCommit time.Time
}

// session is the state of one generation of the group.
type session struct {
	metadata *sarama.ConsumerGroupMetadata
	claims   map[int32]*position
	broken   chan struct{} // closed when the session must end because its transaction is lost
	stop     chan struct{}
	ticking  sync.WaitGroup
}

// position is how far a claim has come in the open transaction. Only its claim writes it, under
// the gate's read lock.
type position struct {
	next  int64 // offset to commit
	count int64 // records since the last commit
}

func newWorker(o options, c *sarama.Config, ends map[int32]int64) *worker {
	w := &worker{o: o, config: c, ends: ends, hurry: make(chan struct{}, 1), done: make(chan struct{})}
	for _, end := range ends {
		w.total += end
	}
	if len(ends) == 0 {
		close(w.done)
	}
	return w
}

// openProducer makes the transactional producer, or a new one in place of one that cannot go on:
// the coordinator then ends whatever that one left open.
func (w *worker) openProducer() error {
	p, err := sarama.NewAsyncProducer(w.o.brokers, w.config)
	if err != nil {
		return fmt.Errorf("open producer: %w", err)
	}
	w.producer, w.open = p, false
	drained := make(chan struct{})
	w.drained = drained
	go func() {
		defer close(drained)
		shown := false
		for err := range p.Errors() { // the transaction cannot commit any more; sarama sees to that
			if !shown {
				fmt.Fprintln(os.Stderr, "produce:", err)
				shown = true
			}
		}
	}()
	return nil
}

func (w *worker) closeProducer() error {
	if w.producer == nil {
		return nil
	}
	w.producer.AsyncClose()
	<-w.drained
	w.producer = nil
	return nil
}

// Setup begins a session. The metadata are those of this generation, so that the broker refuses
// offsets from a member that has lost its partitions without knowing it yet.
func (w *worker) Setup(s sarama.ConsumerGroupSession) error {
	w.gate.Lock()
	defer w.gate.Unlock()
	ses := &session{
		metadata: sarama.NewConsumerGroupMetadataFromSession(s, w.o.group, nil),
		claims:   map[int32]*position{},
		broken:   make(chan struct{}),
		stop:     make(chan struct{}),
	}
	for _, p := range s.Claims()[w.o.from] {
		ses.claims[p] = &position{}
	}
	if err := w.begin(); err != nil {
		return err
	}
	w.unread.Store(w.total - w.committed) // what a lost transaction had read is to be read again
	w.session = ses
	ses.ticking.Go(func() { w.commitRegularly(ses) })
	return nil
}

// begin opens a transaction unless one is open, on a new producer if the old one cannot.
func (w *worker) begin() error {
	if w.producer == nil {
		if err := w.openProducer(); err != nil {
			return err
		}
	}
	if w.open {
		return nil
	}
	if err := w.producer.BeginTxn(); err != nil {
		return errors.Join(fmt.Errorf("begin transaction: %w", err), w.closeProducer())
	}
	w.open = true
	return nil
}

// Cleanup ends a session. All claims have returned and the group still counts this member in, so
// it is the last moment at which their work can be committed.
func (w *worker) Cleanup(sarama.ConsumerGroupSession) error {
	close(w.session.stop)
	w.session.ticking.Wait()
	w.gate.Lock()
	defer w.gate.Unlock()
	return w.commit(w.session)
}

func (w *worker) commitRegularly(ses *session) {
	tick := time.NewTicker(w.o.interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.hurry:
			tick.Reset(w.o.interval)
		case <-ses.stop:
			return
		}
		w.gate.Lock()
		err := w.commit(ses)
		w.gate.Unlock()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return // broken: the session is about to end
		}
	}
}

// commit ends the transaction with the offsets of what it holds, and begins the next, which costs
// no request. The gate must be held. Any failure aborts and breaks the session.
func (w *worker) commit(ses *session) error {
	if ses.isBroken() || !w.open {
		return nil
	}
	offsets := map[string][]*sarama.PartitionOffsetMetadata{}
	var count int64
	for p, at := range ses.claims {
		if at.count > 0 {
			offsets[w.o.from] = append(offsets[w.o.from],
				&sarama.PartitionOffsetMetadata{Partition: p, Offset: at.next, LeaderEpoch: -1})
			count += at.count
		}
	}
	if count == 0 {
		return nil
	}
	err := w.producer.AddOffsetsToTxnWithGroupMetadata(offsets, ses.metadata)
	if err == nil {
		err = w.producer.CommitTxn()
	}
	if err != nil {
		close(ses.broken)
		return errors.Join(fmt.Errorf("commit %d records: %w", count, err), w.abort())
	}
	w.open = false
	w.committed += count
	w.lastCommit = time.Now()
	w.advance(ses)
	if err := w.begin(); err != nil {
		close(ses.broken)
		return err
	}
	return nil
}

// advance notes what was committed, and whether that was all.
func (w *worker) advance(ses *session) {
	left := len(w.ends)
	for p, at := range ses.claims {
		if end, ok := w.ends[p]; ok && at.count > 0 && at.next >= end {
			delete(w.ends, p)
		}
		at.count = 0
	}
	if left > 0 && len(w.ends) == 0 {
		close(w.done)
	}
}

// abort gives up the transaction. A producer that cannot even do that is replaced by the next
// session.
func (w *worker) abort() error {
	if w.producer.TxnStatus()&sarama.ProducerTxnFlagFatalError == 0 {
		err := w.producer.AbortTxn()
		if err == nil && w.producer.TxnStatus()&sarama.ProducerTxnFlagReady != 0 {
			w.open = false
			return nil
		}
	}
	return w.closeProducer()
}

func (s *session) isBroken() bool {
	select {
	case <-s.broken:
		return true
	default:
		return false
	}
}

// ConsumeClaim copies one partition.
func (w *worker) ConsumeClaim(_ sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	w.gate.RLock()
	ses := w.session
	w.gate.RUnlock()
	at := ses.claims[claim.Partition()]
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if !w.copyRun(ses, at, m, claim.Messages()) {
				return errAborted
			}
		case <-ses.broken:
			return errAborted
		case <-w.done:
			return nil
		}
	}
}

// copyRun hands over m and whatever else is at hand. It reports false if the session is broken;
// then nothing was handed over.
func (w *worker) copyRun(ses *session, at *position, m *sarama.ConsumerMessage, more <-chan *sarama.ConsumerMessage) bool {
	w.gate.RLock()
	defer w.gate.RUnlock()
	if ses.isBroken() {
		return false
	}
	input := w.producer.Input()
	count := int64(0)
	for m != nil {
		input <- copyOf(m, w.o.to)
		at.next = m.Offset + 1
		if count++; count == runLength {
			break
		}
		select {
		case m = <-more: // nil once the claim has ended, which ConsumeClaim sees for itself
		default:
			m = nil
		}
	}
	at.count += count
	if w.unread.Add(-count) <= 0 {
		select {
		case w.hurry <- struct{}{}:
		default: // asked already
		}
	}
	return true
}

// copyOf is the record for the output: key, value, headers and timestamp unchanged.
func copyOf(m *sarama.ConsumerMessage, topic string) *sarama.ProducerMessage {
	out := &sarama.ProducerMessage{Topic: topic, Timestamp: m.Timestamp}
	if m.Key != nil {
		out.Key = sarama.ByteEncoder(m.Key)
	}
	if m.Value != nil {
		out.Value = sarama.ByteEncoder(m.Value)
	}
	for _, h := range m.Headers {
		out.Headers = append(out.Headers, *h)
	}
	return out
}
