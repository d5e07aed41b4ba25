package send

import "sync"

// rounds tell when everything that was sent before a flush is settled, however
// much is sent after. A batch belongs to the round in which it was begun; a flush
// ends the current round and waits for it and those before.
type rounds struct {
	mu   sync.Mutex
	list []*round // oldest first; the last is the current one
}

type round struct {
	open  int // batches not settled
	ended bool
	done  chan struct{}
}

func (r *rounds) init() { r.list = []*round{{done: make(chan struct{})}} }

func (r *rounds) enter() *round {
	r.mu.Lock()
	defer r.mu.Unlock()
	cur := r.list[len(r.list)-1]
	cur.open++
	return cur
}

// join adds a batch to a round that still has one.
func (r *rounds) join(x *round) {
	r.mu.Lock()
	x.open++
	r.mu.Unlock()
}

func (r *rounds) leave(x *round) {
	r.mu.Lock()
	x.open--
	r.advance()
	r.mu.Unlock()
}

func (r *rounds) advance() {
	for len(r.list) > 1 && r.list[0].ended && r.list[0].open == 0 {
		close(r.list[0].done)
		r.list = r.list[1:]
	}
}

// end ends the current round and returns what is closed when it is settled.
func (r *rounds) end() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	cur := r.list[len(r.list)-1]
	cur.ended = true
	r.list = append(r.list, &round{done: make(chan struct{})})
	r.advance()
	return cur.done
}

// pending reports whether a flush waits.
func (r *rounds) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.list) > 1
}
