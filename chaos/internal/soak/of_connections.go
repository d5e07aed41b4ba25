//go:build unix

package soak

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/proxy"
)

var connectionKinds = []kind{
	{
		name: "latency", about: "all that workers and brokers say to each other takes 50 to 400 ms longer, in each direction", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			d := time.Duration(s.between(50, 400)) * time.Millisecond
			defer s.breaks("latency of %v", d)()
			return s.during(ctx, s.seconds(8, 20), s.Cluster.Proxy().Latency(d))
		},
	},
	{
		name: "slow-link", about: "the connections to one broker carry 20 to 200 KB a second each", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			node, rate := s.broker(), s.between(20, 200)<<10
			defer s.breaks("%d KB/s to broker %d", rate>>10, node)()
			return s.during(ctx, s.seconds(8, 20), s.Cluster.Proxy().Rate(rate, node))
		},
	},
	{
		name: "black-hole", about: "no broker is in reach, and connections stay open", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("a black hole")()
			return s.during(ctx, s.seconds(5, 25), s.Cluster.Proxy().Blackhole())
		},
	},
	{
		name: "one-black-hole", about: "one broker is out of reach, and connections stay open", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			defer s.breaks("a black hole before broker %d", node)()
			return s.during(ctx, s.seconds(5, 25), s.Cluster.Proxy().Blackhole(node))
		},
	},
	{
		name: "refused", about: "connections to one broker are cut, and new ones refused", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			defer s.breaks("broker %d refuses connections", node)()
			refuse := s.Cluster.Proxy().Refuse(node)
			s.Cluster.Proxy().Cut(node)
			return s.during(ctx, s.seconds(5, 20), refuse)
		},
	},
	{
		name: "resets", about: "all connections are reset, again and again", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("resets")()
			cut := 0
			for range s.between(5, 15) {
				cut += s.Cluster.Proxy().Cut()
				if err := s.Last(ctx, s.seconds(0, 2)); err != nil {
					return err
				}
			}
			s.met(s.kind.name, int64(cut))
			return nil
		},
	},
	{
		name: "answers-lost", about: "connections are cut after EndTxn, TxnOffsetCommit or Produce was applied, before the answer", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			requests := []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce}
			key, n := requests[s.rand.IntN(len(requests))], s.between(3, 12)
			defer s.breaks("%d answers to %s are lost", n, key.Name())()
			cut := s.Cluster.Proxy().CutAfterApplied(proxy.Match{APIKeys: []kmsg.Key{key}, ClientIDPrefix: "chaos-w", Count: n})
			defer cut.Remove()
			return cut.Wait(ctx, int64(n))
		},
	},
	{
		name: "requests-lost", about: "connections are cut before the broker gets an EndTxn, TxnOffsetCommit or Produce", of: ofConnections,
		do: func(ctx context.Context, s *strike) error {
			requests := []kmsg.Key{kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.Produce}
			key, n := requests[s.rand.IntN(len(requests))], s.between(3, 12)
			defer s.breaks("%d of %s are lost", n, key.Name())()
			lost := s.Cluster.Proxy().Drop(proxy.Match{APIKeys: []kmsg.Key{key}, ClientIDPrefix: "chaos-w", Count: n})
			defer lost.Remove()
			return lost.Wait(ctx, int64(n))
		},
	},
}

// during has a rule in force for some time.
func (s *strike) during(ctx context.Context, d time.Duration, rule *proxy.Rule) error {
	defer func() {
		rule.Remove()
		s.met(s.kind.name, rule.Hits())
	}()
	return s.Last(ctx, d)
}
