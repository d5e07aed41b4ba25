package proxy

import (
	"slices"
	"time"
)

// network is what is wrong with the connections to one broker. Of several rules of
// one kind the one added last is in force.
type network struct{ hole, latency, rate, refuse *Rule }

// disturb puts a rule on connections in force.
func (p *Proxy) disturb(r *Rule) *Rule {
	r.p, r.changed = p, make(chan struct{})
	r.match.Brokers = slices.Clone(r.match.Brokers)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.networks = append(p.networks, r)
	p.apply()
	return r
}

// apply works out each broker's network. It is called under mu.
func (p *Proxy) apply() {
	for _, g := range p.gates {
		n := &network{}
		for _, r := range p.networks {
			if len(r.match.Brokers) > 0 && !slices.Contains(r.match.Brokers, g.node) {
				continue
			}
			switch r.action {
			case blackhole:
				n.hole = r
			case latency:
				n.latency = r
			case rate:
				n.rate = r
			case refuse:
				n.refuse = r
			}
		}
		g.network.Store(n)
	}
}

// Blackhole swallows all bytes between clients and some brokers, in both directions,
// until it is removed. No broker named means all, here and below. Connections stay
// open and new ones are accepted. Rules on requests do not see what is swallowed. Once
// healed, a connection that lost bytes is cut, for it has lost its place. A hit is such
// a connection.
func (p *Proxy) Blackhole(brokers ...int32) *Rule {
	return p.disturb(&Rule{action: blackhole, match: Match{Brokers: brokers}})
}

// Latency delays all bytes by d in each direction, without limiting how many are under
// way, up to 1 MiB. A hit is a piece that was delayed.
func (p *Proxy) Latency(d time.Duration, brokers ...int32) *Rule {
	return p.disturb(&Rule{action: latency, time: d, match: Match{Brokers: brokers}})
}

// Rate limits each connection to so many bytes a second in each direction, at least
// one. A hit is a piece that was slowed down.
func (p *Proxy) Rate(bytesPerSecond int, brokers ...int32) *Rule {
	return p.disturb(&Rule{action: rate, bytes: max(1, bytesPerSecond), match: Match{Brokers: brokers}})
}

// Refuse resets new connections as soon as they are open, as a load balancer does whose
// backend is gone. Those that are open stay. A hit is a connection.
func (p *Proxy) Refuse(brokers ...int32) *Rule {
	return p.disturb(&Rule{action: refuse, match: Match{Brokers: brokers}})
}

// Cut resets all connections that are open, once, and returns how many those were.
// Requests that are held on them are lost.
func (p *Proxy) Cut(brokers ...int32) int { return p.cut(brokers, true) }
