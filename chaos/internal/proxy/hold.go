package proxy

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	// ErrHeldTooMuch is the error of a rule that would hold back more than Config.MaxHeld.
	ErrHeldTooMuch = errors.New("proxy: more would be held back than MaxHeld allows")
	// ErrLost is for a held request that never got an answer: the proxy's connection to
	// the broker ended first. The broker may have executed it.
	ErrLost = errors.New("proxy: the connection to the broker ended before the held request was answered")
)

// Hold is a rule that holds requests back. What follows a held request on its
// connection waits behind it, as Kafka keeps the order of a connection.
type Hold struct {
	*Rule
	once     sync.Once
	released chan struct{} // closed: nothing is held any more

	requests []*held // under Rule.mu
}

// held is one request.
type held struct {
	c       *conn
	once    sync.Once
	settled chan struct{} // closed: answer and err are valid
	answer  kmsg.Response
	err     error
}

// Hold holds matching requests back until Release or Remove. A hit is a request that
// is held: the broker does not have it. The client may give up its connection, or
// [Hold.Cut] may do so for it: the broker does not notice, and what was held, and
// followed it, arrives late on a connection that nobody else uses any more.
func (p *Proxy) Hold(m Match) *Hold {
	h := &Hold{released: make(chan struct{})}
	h.Rule = &Rule{action: hold, match: m, holding: h}
	p.add(h.Rule)
	return h
}

// Cut closes the client's side of the connections of all requests that are held now.
// The client sees the connection end without an answer.
func (h *Hold) Cut() {
	for _, r := range h.list() {
		r.c.closeClient()
	}
}

// Abandoned returns when the clients of all requests that are held now have given up
// their connections, of themselves or by Cut: what is released then arrives late.
func (h *Hold) Abandoned(ctx context.Context) error {
	for _, r := range h.list() {
		select {
		case <-r.c.left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Release ends the rule, forwards what is held, and returns when the broker has
// answered all of it. The answers are in the order in which the requests were held.
// One is nil if its request wanted none, or could not be delivered: the error is then
// or contains ErrLost. It returns ctx's error if ctx ends first; calling it again
// waits further.
func (h *Hold) Release(ctx context.Context) ([]kmsg.Response, error) {
	h.Remove()
	var answers []kmsg.Response
	var errs []error
	for _, r := range h.list() {
		select {
		case <-r.settled:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		answers, errs = append(answers, r.answer), append(errs, r.err)
	}
	return answers, errors.Join(errs...)
}

func (h *Hold) letGo() { h.once.Do(func() { close(h.released) }) }

func (h *Hold) list() []*held {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.requests[:len(h.requests):len(h.requests)]
}

// holds notes a request of a connection.
func (h *Hold) holds(c *conn) *held {
	r := &held{c: c, settled: make(chan struct{})}
	h.mu.Lock()
	h.requests = append(h.requests, r)
	h.mu.Unlock()
	return r
}

func (r *held) settle(answer kmsg.Response, err error) {
	r.once.Do(func() {
		r.answer, r.err = answer, err
		close(r.settled)
	})
}
