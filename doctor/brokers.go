package doctor

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/wire"
)

// node is a broker that answers.
type node struct {
	id       int32
	addr     string
	versions map[int16]int16 // by API key, the highest
	txns     wire.Feature
}

type answer struct {
	can cluster.Abilities
	err error
}

// brokers asks every bootstrap address, and every broker that the cluster names, on a
// connection of its own: clients connect to all of them. It is false if nothing else
// can be asked.
func (e *exam) brokers(ctx context.Context) bool {
	conn := e.connection()
	answers := e.askAll(ctx, conn.Brokers)
	var reachable []string
	for _, addr := range conn.Brokers {
		if a := answers[addr]; a.err == nil {
			reachable = append(reachable, addr)
		} else {
			e.unreachable(addr, a.err, "a bootstrap address", "correct the address, or start the broker")
		}
	}
	if len(reachable) == 0 {
		return false
	}
	conn.Brokers = reachable
	client, err := cluster.Open(ctx, conn)
	if err != nil {
		e.find(CheckBrokers, "", Fault, "look at the brokers' logs", "the cluster does not say who belongs to it: %s", line(err))
		return false
	}
	e.client = client

	named := client.Nodes()
	var unasked []string
	for _, addr := range named {
		if _, asked := answers[addr]; !asked {
			unasked = append(unasked, addr)
		}
	}
	maps.Copy(answers, e.askAll(ctx, unasked))
	for _, id := range slices.Sorted(maps.Keys(named)) {
		addr := named[id]
		a := answers[addr]
		if a.err == nil {
			e.nodes = append(e.nodes, node{id, addr, a.can.Requests, a.can.Transactions})
			e.ok(CheckBrokers, addr, "broker %d answers", id)
		} else if !slices.Contains(e.Config.Brokers, addr) {
			e.unreachable(addr, a.err, "the address at which the cluster names a broker",
				"start the broker, or set its advertised.listeners to an address that can be reached from here")
		}
	}
	return true
}

func (e *exam) unreachable(addr string, err error, what, change string) {
	if cluster.IsAuth(err) { // it says what to change
		e.find(CheckBrokers, addr, Fault, "correct the credentials, TLS or SASL, or the port", "%s refuses us: %s", what, line(err))
		return
	}
	e.find(CheckBrokers, addr, Fault, change, "no answer from %s: %s", what, line(err))
}

// asked at the same time, at most.
const askedAtOnce = 16

func (e *exam) askAll(ctx context.Context, addrs []string) map[string]answer {
	var mu sync.Mutex
	out := map[string]answer{}
	var asking sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, addr := range addrs {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			can, err := cluster.AbilitiesOf(ctx, e.connection(), addr)
			mu.Lock()
			defer mu.Unlock()
			out[addr] = answer{can, err}
		})
	}
	asking.Wait()
	return out
}
