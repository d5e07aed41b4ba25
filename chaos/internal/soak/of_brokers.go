//go:build unix

package soak

import (
	"context"
	"errors"
	"time"

	"github.com/leat-stream/leat/chaos/internal/cluster"
)

var brokerKinds = []kind{
	{
		name: "brokers-restarted", about: "each broker in turn is told to stop, and started anew", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("a rolling restart of the brokers")()
			return s.roll(ctx, func(node int32) error { return s.Cluster.Terminate(ctx, node) })
		},
	},
	{
		name: "broker-killed", about: "kill -9 of a broker, and a new start", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			defer s.breaks("kill -9 of broker %d", node)()
			if err := s.Cluster.Kill(node); err != nil {
				return err
			}
			if err := s.Last(ctx, s.seconds(0, 12)); err != nil {
				return err
			}
			if err := s.Cluster.Restart(ctx, node); err != nil {
				return err
			}
			return s.Cluster.Ready(ctx)
		},
	},
	{
		name: "brokers-killed", about: "kill -9 of each broker in turn, and a new start", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			defer s.breaks("kill -9 of the brokers in turn")()
			return s.roll(ctx, s.Cluster.Kill)
		},
	},
	{
		name: "below-min-isr", about: "kill -9 of two of the three brokers: below min.insync.replicas, and no quorum of controllers", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			left := s.broker()
			defer s.breaks("only broker %d is left", left)()
			for _, node := range others(left) {
				if err := s.Cluster.Kill(node); err != nil {
					return err
				}
			}
			if err := s.Last(ctx, s.seconds(5, 15)); err != nil {
				return err
			}
			for _, node := range others(left) {
				if err := s.Cluster.Restart(ctx, node); err != nil {
					return err
				}
			}
			return s.Cluster.Ready(ctx)
		},
	},
	{
		name: "broker-stopped", about: "SIGSTOP of a broker for longer or shorter than its session lasts, then SIGCONT", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			defer s.breaks("SIGSTOP of broker %d", node)()
			if err := s.Cluster.Stop(node); err != nil {
				return err
			}
			if err := errors.Join(s.Last(ctx, s.seconds(4, 20)), s.Cluster.Cont(node)); err != nil {
				return err
			}
			return s.Cluster.Ready(ctx)
		},
	},
	{
		name: "broker-cut-off", about: "a network partition: one broker does not reach the others, but clients reach all", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			// It counts as one that stands still: the others have to do without it.
			return s.partition(ctx, []int32{node}, others(node), s.Cluster.Ready)
		},
	},
	{
		name: "pair-cut-off", about: "a network partition: two brokers do not reach each other, and the third reaches both", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			pair := others(s.broker())
			// Of two brokers that lead nothing neither would notice.
			if err := s.within(ctx, time.Minute, s.Cluster.Balance); err != nil {
				return err
			}
			return s.partition(ctx, pair[:1], pair[1:], func(ctx context.Context) error {
				return s.Await(ctx, "replicas to fall behind", func() bool { return s.Cluster.Whole(ctx) != nil })
			})
		},
	},
	{
		name: "disk-full", about: "a broker's disk is full, which ends it; then there is room again, and a new start", of: ofBrokers,
		do: func(ctx context.Context, s *strike) error {
			node := s.broker()
			defer s.breaks("the disk of broker %d is full", node)()
			if err := s.Cluster.FillDisk(ctx, node); err != nil {
				return err
			}
			if err := s.within(ctx, 2*time.Minute, func(ctx context.Context) error { return s.Cluster.AwaitEnd(ctx, node) }); err != nil {
				return err
			}
			if err := s.Last(ctx, s.seconds(1, 10)); err != nil {
				return err
			}
			if err := s.Cluster.FreeDisk(node); err != nil {
				return err
			}
			if err := s.Cluster.Restart(ctx, node); err != nil {
				return err
			}
			return s.Cluster.Ready(ctx)
		},
	},
}

// broker chooses one.
func (s *strike) broker() int32 { return int32(s.between(1, cluster.NumBrokers)) }

// others are all brokers but one.
func others(node int32) (all []int32) {
	for n := int32(1); n <= cluster.NumBrokers; n++ {
		if n != node {
			all = append(all, n)
		}
	}
	return all
}

// seconds chooses a duration.
func (s *strike) seconds(least, most int) time.Duration {
	return time.Duration(s.between(1000*least, 1000*most)) * time.Millisecond
}

// roll ends one broker after the other and starts it anew, each when the one before is
// back.
func (s *strike) roll(ctx context.Context, end func(node int32) error) error {
	first := s.broker()
	for _, node := range append([]int32{first}, others(first)...) {
		if err := end(node); err != nil {
			return err
		}
		if err := s.Cluster.Restart(ctx, node); err != nil {
			return err
		}
		if err := s.Cluster.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

// partition keeps two sets of brokers from each other until that shows, and for some
// time.
func (s *strike) partition(ctx context.Context, a, b []int32, shows func(context.Context) error) error {
	defer s.breaks("brokers %v and %v do not reach each other", a, b)()
	heal, err := s.Cluster.Partition(a, b)
	if err != nil {
		return err
	}
	if err = s.within(ctx, time.Minute, shows); err == nil {
		err = s.Last(ctx, s.seconds(2, 15))
	}
	if err := errors.Join(err, heal()); err != nil {
		return err
	}
	return s.Cluster.Ready(ctx)
}
