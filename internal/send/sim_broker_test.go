package send

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"
)

// cluster is the model of brokers, partitions and coordinators. It follows Kafka's
// ProducerAppendInfo, ProducerStateEntry and TransactionCoordinator. Replication is
// reduced to a high watermark: what is below it survives a change of the leader,
// what is above may.
type cluster struct {
	s       *sim
	brokers []*broker
	parts   []*simPart
	offsets *simPart // __consumer_offsets, of the one group
	views   []*view  // as they were, oldest first
	pids    int64
	txns    map[string]*simTxn
	limit   int  // largest batch
	unknown bool // an old broker: it refuses sequences of producers it does not know
	v2      bool // transaction version 2
	away    time.Time
}

type broker struct {
	id     int32
	addr   string
	moved  int
	up     bool
	paused time.Time // until
}

// entry is a batch in a log, or a marker.
type entry struct {
	pid         int64
	epoch       int16
	seq, last   int32
	ids         []int64
	offset      int64
	txn, marker bool
	commit      bool
}

// simPart is a partition: a log, who leads it, and what the leader knows of the
// producers.
type simPart struct {
	tp
	leader, epoch int32
	log           []entry
	safe          int // entries that are replicated
	next          int64
	states        map[int64]*producerState
	waits         []*wait
	starved       time.Time // below min.insync.replicas until
	refused       map[int64]time.Time
}

// producerState is what a leader knows of a producer.
type producerState struct {
	epoch   int16
	batches []entry // at most five
	open    bool    // a transaction
}

// wait is a request that waits for replication.
type wait struct {
	end   int
	reply func(result)
	over  bool
}

func newCluster(s *sim) *cluster {
	cl := &cluster{s: s, txns: map[string]*simTxn{}, limit: math.MaxInt, pids: 1000, unknown: s.rnd.IntN(4) == 0, v2: s.seed/4%2 == 1}
	for id := int32(1); id <= int32(1+s.rnd.IntN(3)); id++ {
		cl.brokers = append(cl.brokers, &broker{id: id, addr: fmt.Sprintf("b%d", id), up: true})
	}
	for topic := range 1 + s.rnd.IntN(2) {
		for id := range 1 + s.rnd.IntN(4) {
			cl.parts = append(cl.parts, cl.newPart(fmt.Sprintf("t%d", topic), int32(id)))
		}
	}
	cl.offsets = cl.newPart("__consumer_offsets", 0)
	if s.rnd.IntN(3) == 0 {
		cl.limit = 200 + s.rnd.IntN(400)
	}
	cl.changed()
	return cl
}

func (cl *cluster) newPart(topic string, id int32) *simPart {
	return &simPart{
		tp: tp{topic, id}, leader: cl.brokers[cl.s.rnd.IntN(len(cl.brokers))].id, states: map[int64]*producerState{}, refused: map[int64]time.Time{},
	}
}

func (cl *cluster) byAddr(addr string) *broker {
	for _, b := range cl.brokers {
		if b.addr == addr {
			return b
		}
	}
	return nil
}

func (cl *cluster) part(x tp) *simPart {
	for _, p := range cl.parts {
		if p.tp == x {
			return p
		}
	}
	return nil
}

// changed keeps the present state of the cluster for brokers that will be behind.
func (cl *cluster) changed() {
	v := &view{brokers: map[int32]string{}, topics: map[string]topicView{}}
	for _, b := range cl.brokers {
		if b.up {
			v.brokers[b.id] = b.addr
		}
	}
	for _, p := range cl.parts {
		t := v.topics[p.topic]
		t.parts = append(t.parts, partView{p.id, p.leader, p.epoch})
		v.topics[p.topic] = t
	}
	cl.views = append(cl.views, v)
}

func (cl *cluster) view(topics []string) *view {
	s := cl.s
	at := len(cl.views) - 1
	if s.chance(s.f.staleView) {
		at -= s.rnd.IntN(min(3, len(cl.views)))
	}
	old := cl.views[at]
	v := &view{brokers: old.brokers, topics: map[string]topicView{}}
	for _, name := range topics {
		t, ok := old.topics[name]
		if !ok {
			t.code = sarama.ErrUnknownTopicOrPartition
		}
		if s.chance(s.f.view / 4) {
			t = topicView{code: sarama.ErrLeaderNotAvailable}
		}
		v.topics[name] = t
	}
	return v
}

// append takes a batch and has reply called once.
func (cl *cluster) append(b *broker, sb *simBatch, reply func(result)) {
	s := cl.s
	p := cl.part(sb.tp)
	refuse := func(code sarama.KError) { reply(result{code: code, offset: -1, leader: -1}) }
	switch {
	case p == nil:
		refuse(sarama.ErrUnknownTopicOrPartition)
		return
	case p.leader != b.id:
		reply(cl.hint(p))
		return
	case sb.conn.dead && !sb.txn && !p.refused[sb.pid].Before(sb.sent):
		// Beyond what a producer without transactions can handle, in any client: a
		// copy that arrives after a later attempt of the same batches was refused
		// for good, so that they have got new numbers.
		s.tracef("broker: a copy of %v comes too late", sb.ids)
		refuse(sarama.ErrNetworkException)
		return
	case s.chance(s.f.code):
		codes := []sarama.KError{
			sarama.ErrNotEnoughReplicas, sarama.ErrKafkaStorageError, sarama.ErrLeaderNotAvailable, sarama.ErrUnknownTopicOrPartition,
			sarama.ErrRequestTimedOut, sarama.ErrNotLeaderForPartition, sarama.ErrOffsetsLoadInProgress,
		}
		if s.rnd.IntN(30) == 0 {
			codes = []sarama.KError{sarama.ErrInvalidTimestamp} // for good
		}
		refuse(codes[s.rnd.IntN(len(codes))])
		return
	case sb.size > cl.limit:
		refuse(sarama.ErrMessageSizeTooLarge)
		return
	case p.starved.After(s.now) && s.rnd.IntN(2) == 0:
		refuse(sarama.ErrNotEnoughReplicas)
		return
	}
	at := -1
	if sb.pid >= 0 {
		if code := cl.verify(p, sb); code != sarama.ErrNoError {
			refuse(code)
			return
		}
		dup, code := p.admit(sb, cl.unknown)
		if code != sarama.ErrNoError {
			if !sb.conn.dead && p.forgotten(sb) {
				s.violated("%v is in the log, but no longer among the five batches that the broker remembers", sb.ids)
			}
			p.refused[sb.pid] = s.now
			refuse(code)
			return
		}
		at = dup
	}
	again := at >= 0
	if !again {
		at = len(p.log)
		p.add(entry{pid: sb.pid, epoch: sb.epoch, seq: sb.seq, last: advance(sb.seq, int32(len(sb.ids)-1)), ids: sb.ids, txn: sb.txn})
		s.tracef("broker: %v offset %d = %v", p.tp, p.log[at].offset, sb.ids)
		cl.replicate(p, at+1)
	}
	w := &wait{end: at + 1}
	offset := p.log[at].offset
	w.reply = func(r result) {
		if w.over {
			return
		}
		w.over = true
		if r.code == sarama.ErrNoError {
			r.offset = offset
			if again && s.rnd.IntN(4) == 0 {
				r.code, r.offset = sarama.ErrDuplicateSequenceNumber, -1
			}
		}
		reply(r)
	}
	switch {
	case p.safe >= w.end:
		w.reply(result{leader: -1})
	case p.starved.After(s.now) && s.rnd.IntN(2) == 0:
		w.reply(result{code: sarama.ErrNotEnoughReplicasAfterAppend, offset: -1, leader: -1})
	default:
		p.waits = append(p.waits, w)
		s.after(s.cfg.RequestTimeout*4/5, func() { w.reply(result{code: sarama.ErrRequestTimedOut, offset: -1, leader: -1}) })
	}
}

// hint is the answer of a broker that does not lead.
func (cl *cluster) hint(p *simPart) result {
	r := result{code: sarama.ErrNotLeaderForPartition, offset: -1, leader: -1}
	if cl.s.chance(cl.s.f.hint) {
		r.leader, r.leaderEpoch = p.leader, p.epoch
		if cl.s.chance(cl.s.f.staleHint) {
			r.leader, r.leaderEpoch = cl.brokers[cl.s.rnd.IntN(len(cl.brokers))].id, max(0, p.epoch-1-cl.s.rnd.Int32N(3))
		}
	}
	return r
}

// replicate moves the high watermark, sooner or later.
func (cl *cluster) replicate(p *simPart, end int) {
	s := cl.s
	d := s.upTo(2 * time.Millisecond)
	if s.chance(s.f.slow) {
		d = s.upTo(2 * s.cfg.RequestTimeout)
	}
	epoch := p.epoch
	s.at(later(p.starved, s.now.Add(d)), func() {
		if p.epoch == epoch {
			p.replicated(end)
		}
	})
}

func (p *simPart) replicated(end int) {
	p.safe = max(p.safe, min(end, len(p.log)))
	p.answer(func(w *wait) bool { return w.end <= p.safe }, result{leader: -1})
}

// answer answers those who wait and are meant.
func (p *simPart) answer(who func(*wait) bool, r result) {
	waits := p.waits
	p.waits = nil
	for _, w := range waits {
		switch {
		case w.over:
		case who(w):
			w.reply(r)
		default:
			p.waits = append(p.waits, w)
		}
	}
}

// add appends to the log and to what is known of the producer.
func (p *simPart) add(e entry) {
	e.offset = p.next
	p.next += max(1, int64(len(e.ids)))
	p.log = append(p.log, e)
	p.learn(e)
}

func (p *simPart) learn(e entry) {
	if e.pid < 0 {
		return
	}
	st := p.states[e.pid]
	if st == nil {
		st = &producerState{epoch: e.epoch}
		p.states[e.pid] = st
	}
	if st.epoch != e.epoch {
		st.epoch, st.batches = e.epoch, nil
	}
	if e.marker {
		st.open = false
		return
	}
	st.open = st.open || e.txn
	if len(st.batches) == maxInFlightIdempotent {
		st.batches = slices.Clone(st.batches[1:])
	}
	st.batches = append(st.batches, e)
}

// admit applies a leader's rules for numbered batches. It returns where a
// duplicate is in the log, or -1.
func (p *simPart) admit(sb *simBatch, unknown bool) (int, sarama.KError) {
	st := p.states[sb.pid]
	if st == nil {
		if unknown && sb.seq != 0 {
			return -1, sarama.ErrUnknownProducerID
		}
		return -1, sarama.ErrNoError // any first sequence
	}
	last := advance(sb.seq, int32(len(sb.ids)-1))
	if st.epoch == sb.epoch {
		for _, e := range st.batches {
			if e.seq == sb.seq && e.last == last {
				return slices.IndexFunc(p.log, func(x entry) bool { return x.offset == e.offset }), sarama.ErrNoError
			}
		}
	}
	switch {
	case sb.epoch < st.epoch:
		return -1, sarama.ErrInvalidProducerEpoch
	case sb.epoch > st.epoch && sb.seq != 0, sb.epoch == st.epoch && len(st.batches) == 0 && sb.seq != 0:
		return -1, sarama.ErrOutOfOrderSequenceNumber
	case sb.epoch == st.epoch && len(st.batches) > 0 && sb.seq != advance(st.batches[len(st.batches)-1].last, 1):
		return -1, sarama.ErrOutOfOrderSequenceNumber
	}
	return -1, sarama.ErrNoError
}

// forgotten reports whether a refused batch is in the log.
func (p *simPart) forgotten(sb *simBatch) bool {
	return slices.ContainsFunc(p.log, func(e entry) bool {
		return !e.marker && e.pid == sb.pid && e.epoch == sb.epoch && e.seq == sb.seq && slices.Equal(e.ids, sb.ids)
	})
}

// lead gives a partition to another broker, which has everything that was
// replicated and some of the rest.
func (cl *cluster) lead(p *simPart, id int32) {
	s := cl.s
	kept := p.safe
	if n := len(p.log) - p.safe; n > 0 {
		kept += s.rnd.IntN(n + 1)
	}
	s.tracef("leader of %v: %d in epoch %d, %d of %d entries kept", p.tp, id, p.epoch+1, kept, len(p.log))
	p.log = p.log[:kept]
	p.safe, p.leader = kept, id
	p.epoch++
	p.states = map[int64]*producerState{}
	for _, e := range p.log {
		p.learn(e)
	}
	p.answer(func(*wait) bool { return true }, cl.hint(p))
}

// disasters happen until there shall be no more faults.
func (cl *cluster) disasters() {
	s := cl.s
	if s.f.disaster == 0 {
		return
	}
	s.after(s.upTo(2*s.f.disaster), func() {
		if s.quiet {
			return
		}
		cl.disaster()
		cl.changed()
		cl.disasters()
	})
}

func (cl *cluster) disaster() {
	s := cl.s
	b := cl.brokers[s.rnd.IntN(len(cl.brokers))]
	p := cl.parts[s.rnd.IntN(len(cl.parts))]
	d := s.upTo(min(3*time.Second, 2*s.cfg.DeliveryTimeout))
	kind := s.rnd.IntN(9)
	if s.f.wander {
		kind = 0
	}
	switch kind {
	case 0, 1:
		if b := cl.brokers[s.rnd.IntN(len(cl.brokers))]; b.up {
			cl.lead(p, b.id)
		}
	case 2:
		s.tracef("broker %d stops for %v", b.id, d)
		b.paused = s.now.Add(d)
	case 3, 4:
		cl.crash(b, d)
	case 5:
		s.tracef("%v is below min.insync.replicas for %v", p.tp, d)
		p.starved = s.now.Add(d)
	case 6:
		b.moved++
		b.addr = fmt.Sprintf("b%d-%d", b.id, b.moved)
		s.tracef("broker %d moves to %s", b.id, b.addr)
	case 7:
		cl.away = s.now.Add(d / 4)
	case 8:
		n := int32(0)
		for _, x := range cl.parts {
			if x.topic == p.topic {
				n++
			}
		}
		if n < 6 {
			s.tracef("%s has %d partitions", p.topic, n+1)
			cl.parts = append(cl.parts, cl.newPart(p.topic, n))
		}
	}
}

// crash takes a broker away; its partitions are led by others soon, or by itself
// again when it is back.
func (cl *cluster) crash(b *broker, d time.Duration) {
	s := cl.s
	if !b.up {
		return
	}
	s.tracef("broker %d crashes for %v", b.id, d)
	b.up = false
	for _, p := range cl.parts {
		if p.leader == b.id {
			cl.lead(p, -1)
		}
	}
	elect := func() {
		for _, p := range cl.parts {
			if p.leader < 0 {
				if b := cl.brokers[s.rnd.IntN(len(cl.brokers))]; b.up {
					cl.lead(p, b.id)
				}
			}
		}
		cl.changed()
	}
	s.after(s.upTo(time.Second), elect)
	s.after(d, func() {
		b.up = true
		elect()
	})
}

// heal ends all faults.
func (cl *cluster) heal() {
	for _, b := range cl.brokers {
		b.up, b.paused = true, time.Time{}
	}
	for _, p := range cl.parts {
		p.starved = time.Time{}
		if p.leader < 0 {
			cl.lead(p, cl.brokers[0].id)
		}
		p.replicated(len(p.log))
	}
	cl.away = time.Time{}
	cl.changed()
}
