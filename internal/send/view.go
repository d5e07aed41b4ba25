package send

import (
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// refresh asks for a view of the cluster when one is wanted, or the last is old.
func (m *machine) refresh(now time.Time) (next time.Time) {
	m.expireLookups(now)
	if m.viewing || m.closing {
		return time.Time{}
	}
	if !m.wantView {
		if len(m.parts) == 0 && len(m.asked) == 0 {
			return time.Time{}
		}
		if at := m.viewedAt.Add(m.cfg.MetadataMaxAge); at.After(now) {
			return at
		}
	}
	if m.viewNext.After(now) {
		return m.viewNext
	}
	m.viewing, m.wantView = true, false
	m.stats.views.Add(1)
	m.w.view(m.topics())
	return time.Time{}
}

func (m *machine) topics() []string {
	set := map[string]bool{}
	for t := range *m.acc.topics.Load() {
		set[t] = true
	}
	for t := range m.asked {
		set[t] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// viewed takes a view, or the failure to get one.
func (m *machine) viewed(v *view, err error, now time.Time) {
	m.viewing = false
	if err != nil {
		m.log.Debug("no view of the cluster", "error", err)
		if secure.Refused(err) {
			for _, topic := range slices.Sorted(maps.Keys(m.asked)) {
				m.answerLookup(topic, err)
			}
		}
		m.viewNext = now.Add(m.backoff(m.viewFail))
		m.viewFail++
		m.wantView = true
		return
	}
	m.viewFail, m.viewedAt = 0, now
	m.viewNext = now.Add(m.backoff(0))
	m.takeAddresses(v.brokers, now)
	for _, name := range slices.Sorted(maps.Keys(v.topics)) {
		m.takeTopic(name, v.topics[name])
	}
}

// takeAddresses follows brokers that moved: the old connection sends nothing new,
// and what is under way on it still comes back.
func (m *machine) takeAddresses(brokers map[int32]string, now time.Time) {
	for _, id := range slices.Sorted(maps.Keys(brokers)) {
		addr := brokers[id]
		if n := m.nodes[id]; n != nil && n.addr != addr {
			m.drop(n, now)
			delete(m.redial, id)
		}
		m.addrs[id] = addr
	}
}

func (m *machine) takeTopic(name string, t topicView) {
	switch {
	case t.code == sarama.ErrNoError && len(t.parts) > 0:
	case classify(t.code) == codeLeader || classify(t.code) == codeRetry || t.code == sarama.ErrNoError:
		m.wantView = true
		if t.code == sarama.ErrUnknownTopicOrPartition {
			m.answerLookup(name, ErrUnknownTopic)
		}
		return
	case t.code == sarama.ErrTopicAuthorizationFailed:
		m.answerLookup(name, secure.Denied(t.code, secure.Write, secure.Topic, name))
		return
	default:
		m.answerLookup(name, codeError(ErrUnknownTopic, t.code))
		return
	}
	parts := m.grow(name, t)
	for _, p := range t.parts {
		if int(p.id) >= len(parts) {
			continue
		}
		pt := parts[p.id]
		if p.epoch >= 0 && p.epoch < pt.leaderEpoch { // a broker that is behind
			m.wantView = true
			continue
		}
		if p.leader < 0 {
			m.wantView = len(pt.queue)+len(pt.sent) > 0 || m.wantView
		}
		pt.leader, pt.leaderEpoch = p.leader, p.epoch
	}
	m.answerLookup(name, nil)
}

// grow makes the partitions of a topic that are not known yet. Partitions are
// never taken away: a topic that is made anew has its records fail by their
// delivery time-out.
func (m *machine) grow(name string, t topicView) []*partition {
	have := m.acc.partitions(name)
	if len(t.parts) <= len(have) {
		return have
	}
	parts := slices.Clone(have)
	for id := int32(len(have)); int(id) < len(t.parts); id++ {
		pt := &partition{topic: name, id: id, stats: m.stats, leader: -1, leaderEpoch: -1, pid: -1, epoch: -1, acked: -1, closed: m.gone}
		parts = append(parts, pt)
		m.parts = append(m.parts, pt)
	}
	all := maps.Clone(*m.acc.topics.Load())
	all[name] = parts
	m.acc.topics.Store(&all)
	return parts
}

// lookUp calls done when the topic is known, or known not to exist, or at the
// latest at expires.
func (m *machine) lookUp(topic string, expires time.Time, done func(error)) {
	if len(m.acc.partitions(topic)) > 0 {
		done(nil)
		return
	}
	l := m.asked[topic]
	if l == nil {
		l = &lookup{}
		m.asked[topic] = l
	}
	if expires.After(l.expires) {
		l.expires = expires
	}
	l.waiters = append(l.waiters, done)
	m.wantView = true
}

func (m *machine) answerLookup(topic string, err error) {
	l := m.asked[topic]
	if l == nil {
		return
	}
	delete(m.asked, topic)
	for _, done := range l.waiters {
		done(err)
	}
}

func (m *machine) expireLookups(now time.Time) {
	for _, topic := range slices.Sorted(maps.Keys(m.asked)) {
		if !m.asked[topic].expires.After(now) {
			m.answerLookup(topic, ErrDeliveryTimeout)
		}
	}
}
