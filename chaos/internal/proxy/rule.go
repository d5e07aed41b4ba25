package proxy

import (
	"context"
	"slices"
	"sync"
	"time"
)

// action is what a rule does.
type action uint8

const (
	hold action = iota
	delay
	drop
	dropHard
	cutAfterApplied
	blackhole
	latency
	rate
	refuse
)

// Rule is a fault while it is in force. It is safe for concurrent use.
type Rule struct {
	p       *Proxy
	action  action
	match   Match         // of faults on connections only the brokers
	time    time.Duration // delay, latency
	bytes   int           // rate, per second
	holding *Hold         // hold

	mu      sync.Mutex
	removed bool
	seen    int // matching requests
	taken   int // those it was told to strike
	hits    int64
	err     error
	changed chan struct{} // closed: hits or err changed
}

// add puts a rule on requests in force.
func (p *Proxy) add(r *Rule) *Rule {
	r.p, r.changed = p, make(chan struct{})
	r.match.APIKeys, r.match.Brokers = slices.Clone(r.match.APIKeys), slices.Clone(r.match.Brokers)
	p.mu.Lock()
	defer p.mu.Unlock()
	rules := append(slices.Clip(p.load()), r)
	p.rules.Store(&rules)
	return r
}

// load returns the rules on requests, which must not be changed.
func (p *Proxy) load() []*Rule {
	if rules := p.rules.Load(); rules != nil {
		return *rules
	}
	return nil
}

// pick returns the rule that strikes a request, or nil.
func (p *Proxy) pick(r *Request) *Rule {
	for _, rule := range p.load() {
		if rule.match.covers(r) && rule.take() {
			return rule
		}
	}
	return nil
}

// Delay forwards matching requests after d, and what follows them on their connections
// after them. One whose client gives up meanwhile arrives nevertheless. A hit is a
// request that begins to wait; Remove does not shorten its time.
func (p *Proxy) Delay(m Match, d time.Duration) *Rule {
	return p.add(&Rule{action: delay, match: m, time: d})
}

// Drop cuts the connection of matching requests: the broker does not get them. What
// was sent before them on the connection it may still execute. A hit is a connection
// that has been cut.
func (p *Proxy) Drop(m Match) *Rule { return p.add(&Rule{action: drop, match: m}) }

// Reset is Drop with a TCP reset in place of an orderly end.
func (p *Proxy) Reset(m Match) *Rule { return p.add(&Rule{action: dropHard, match: m}) }

// CutAfterApplied forwards matching requests and cuts their connections when the broker
// answers, without delivering the answer. A hit is a connection that has been cut; a
// request that is never answered is none and does not count. A Produce request with
// acks=0 has no answer: the connection is cut when it has been written.
func (p *Proxy) CutAfterApplied(m Match) *Rule {
	return p.add(&Rule{action: cutAfterApplied, match: m})
}

// take tells whether to strike a request that matches.
func (r *Rule) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.removed {
		return false
	}
	r.seen++
	if r.seen <= r.match.SkipFirst || r.match.Count > 0 && r.taken >= r.match.Count {
		return false
	}
	r.taken++
	return true
}

// untake is called for a request that was taken and could not be struck.
func (r *Rule) untake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken--
}

func (r *Rule) hit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hits++
	r.notify()
}

func (r *Rule) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
		r.notify()
	}
}

func (r *Rule) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Hits is how often the rule has struck. What counts as a hit each kind of rule says.
func (r *Rule) Hits() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hits
}

// Wait returns when the rule has struck n times or more. It returns an error when ctx
// ends before, or when the rule could not strike.
func (r *Rule) Wait(ctx context.Context, n int64) error {
	for {
		r.mu.Lock()
		hits, err, changed := r.hits, r.err, r.changed
		r.mu.Unlock()
		switch {
		case err != nil:
			return err
		case hits >= n:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remove ends the rule. Requests that a Hold has are let go; connections that have lost
// bytes to a Blackhole are cut. Removing twice is harmless.
func (r *Rule) Remove() {
	r.mu.Lock()
	r.removed = true
	r.mu.Unlock()
	p := r.p
	p.mu.Lock()
	rules := slices.DeleteFunc(slices.Clone(p.load()), func(other *Rule) bool { return other == r })
	p.rules.Store(&rules)
	p.networks = slices.DeleteFunc(p.networks, func(other *Rule) bool { return other == r })
	p.apply()
	p.mu.Unlock()
	switch r.action {
	case hold:
		r.holding.letGo()
	case blackhole:
		for _, c := range p.open(r.match.Brokers) {
			c.heal()
		}
	}
}
