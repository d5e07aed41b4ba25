//go:build unix

package scenario

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/proxy"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// ofConnections are the scenarios in which requests and answers are lost, late, or never
// arrive.
var ofConnections = []Scenario{
	{
		Name: "late-end", About: "an EndTxn is held, its worker's connection cut; it retries, goes on to other transactions, of which a third is aborted, and then the first one arrives (KAFKA-17754)",
		Flags: []string{"-aborts", "0.33"},
		Play: func(ctx context.Context, r *Run) error {
			for i := range 6 {
				if err := r.Written(ctx, 0.1+0.13*float64(i)); err != nil {
					return err
				}
				name := r.Any()
				hold := r.Cluster.Proxy().Hold(r.requests(name, kmsg.EndTxn, 1))
				if err := hold.Wait(ctx, 1); err != nil {
					return err
				}
				healed := r.Fault("a late EndTxn of " + name)
				hold.Cut()
				if err := hold.Abandoned(ctx); err != nil {
					return err
				}
				// In the midst of a later transaction: after some of its records, before its end.
				next := r.Cluster.Proxy().Hold(proxy.Match{
					APIKeys: []kmsg.Key{kmsg.EndTxn}, Where: proxy.TransactionalID(r.TransactionalID(name)), SkipFirst: 1 + r.Rand.IntN(2), Count: 1,
				})
				if err := next.Wait(ctx, 1); err != nil {
					return err
				}
				answers, err := hold.Release(ctx)
				if err != nil {
					return fmt.Errorf("the late EndTxn: %w", err)
				}
				r.MustReach(fmt.Sprintf("late EndTxn number %d answered", i+1), 1, func() int64 { return int64(len(answers)) })
				if _, err := next.Release(ctx); err != nil {
					return err
				}
				if err := r.Healing(ctx, healed); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		Name: "cut-end", About: "connections are cut after an EndTxn was applied, and before its answer comes",
		Play: func(ctx context.Context, r *Run) error { return r.cuts(ctx, kmsg.EndTxn) },
	},
	{
		Name: "lost-end", About: "an EndTxn is lost before it is applied, by turns one that commits and one that aborts; half of the transactions fail",
		Flags: []string{"-aborts", "0.5"},
		Play: func(ctx context.Context, r *Run) error {
			const rounds = 10
			for i := range rounds {
				if err := r.Written(ctx, float64(i+1)/(rounds+4)); err != nil {
					return err
				}
				name := r.Any()
				healed := r.Fault("a lost EndTxn of " + name)
				lost := r.Cluster.Proxy().Drop(r.endings(name, i%2 == 0, 1))
				err := lost.Wait(ctx, 1)
				lost.Remove()
				if err != nil {
					return err
				}
				r.MustReach(fmt.Sprintf("EndTxn lost, round %d", i+1), 1, lost.Hits)
				healed()
			}
			return nil
		},
	},
	{
		Name: "unknown-end", About: "an EndTxn is applied and its answer lost, and so is every repetition, until its worker has given the transaction up",
		Flags: []string{"-transaction-timeout", "5s"},
		Play: func(ctx context.Context, r *Run) error {
			for i := range 2 {
				if err := r.Written(ctx, 0.2+0.4*float64(i)); err != nil {
					return err
				}
				name := r.Any()
				before := r.sessions(name)
				healed := r.Fault("no answer to EndTxn of " + name)
				applied := r.Cluster.Proxy().CutAfterApplied(r.endings(name, true, 1))
				repeated := r.Cluster.Proxy().Drop(r.requests(name, kmsg.EndTxn, 0))
				err := r.Await(ctx, "a new session of worker "+name, func() bool { return r.sessions(name) > before })
				applied.Remove()
				repeated.Remove()
				if err != nil {
					return err
				}
				r.MustReach(fmt.Sprintf("EndTxn applied and not answered, number %d", i+1), 1, applied.Hits)
				r.MustReach(fmt.Sprintf("repetitions of number %d", i+1), 1, repeated.Hits)
				if err := r.Healing(ctx, healed); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		Name: "cut-offsets", About: "the same of TxnOffsetCommit and AddOffsetsToTxn",
		Play: func(ctx context.Context, r *Run) error {
			return r.cuts(ctx, kmsg.TxnOffsetCommit, kmsg.AddOffsetsToTxn)
		},
	},
	{
		Name: "cut-produce", About: "the same of Produce, and Produce is lost before it is applied",
		Spares: true, Flags: []string{"-transaction-timeout", "20s"}, // a slow machine is not to blame
		Play: func(ctx context.Context, r *Run) error {
			lost := r.Cluster.Proxy().Drop(proxy.Match{APIKeys: []kmsg.Key{kmsg.Produce}, ClientIDPrefix: "chaos-w", SkipFirst: 50, Count: 20})
			defer lost.Remove()
			r.MustReach("Produce lost", 20, lost.Hits)
			return r.cuts(ctx, kmsg.Produce)
		},
	},
	{
		Name: "late-produce", About: "Produce requests are held, as many as may be under way; their connection is cut, and they are applied before they can be repeated",
		// Many small batches wait behind those that are held.
		Workers: 1, Inputs: 20_000, Rate: 1500, Flags: []string{"-commit-interval", "1s", "-batch-size", "16384"}, Spares: true,
		Play: func(ctx context.Context, r *Run) error {
			for i := range 3 {
				if err := r.Written(ctx, 0.2+0.2*float64(i)); err != nil {
					return err
				}
				name := r.Any()
				node, err := r.Cluster.Leader(ctx, r.topics.Outputs[workload.Left], int32(r.Rand.IntN(OutputPartitions)))
				if err != nil {
					return err
				}
				// Nothing follows the first batch of an epoch: it passes.
				m := r.requests(name, kmsg.Produce, 1)
				m.Brokers, m.SkipFirst = []int32{node}, 5
				hold := r.Cluster.Proxy().Hold(m)
				if err := hold.Wait(ctx, 1); err != nil {
					return err
				}
				healed := r.Fault("late Produce of " + name)
				if err := r.Last(ctx, time.Second); err != nil { // time for others to follow
					return err
				}
				// The next connection begins with its versions, and gets no further yet.
				m = r.requests(name, kmsg.ApiVersions, 0)
				m.Brokers = []int32{node}
				next := r.Cluster.Proxy().Hold(m)
				hold.Cut()
				if err := next.Wait(ctx, 1); err != nil {
					return err
				}
				answers, err := hold.Release(ctx)
				if err == nil {
					err = r.Last(ctx, time.Second) // those that followed are applied meanwhile
				}
				next.Remove()
				if err != nil {
					return fmt.Errorf("the late Produce: %w", err)
				}
				r.MustReach(fmt.Sprintf("late Produce number %d answered", i+1), 1, func() int64 { return int64(len(answers)) })
				if err := r.Healing(ctx, healed); err != nil {
					return err
				}
			}
			return nil
		},
	},
	{
		Name: "black-hole", About: "all brokers are out of reach for 20 s, and connections stay open",
		Play: func(ctx context.Context, r *Run) error {
			if err := r.Written(ctx, 0.3); err != nil {
				return err
			}
			healed := r.Fault("a black hole")
			hole := r.Cluster.Proxy().Blackhole()
			defer hole.Remove()
			if err := r.Last(ctx, 20*time.Second); err != nil {
				return err
			}
			r.MustReach("connections in the black hole", 3, hole.Hits)
			hole.Remove()
			return r.Healing(ctx, healed)
		},
	},
	{
		Name: "pending-offsets", About: "a worker dies with its EndTxn under way; another takes its partitions over; then the EndTxn arrives",
		Workers: 2, Flags: []string{"-transaction-timeout", "40s"},
		Play: func(ctx context.Context, r *Run) error {
			if err := r.Written(ctx, 0.2); err != nil {
				return err
			}
			hold := r.Cluster.Proxy().Hold(r.requests("w0", kmsg.EndTxn, 1))
			if err := hold.Wait(ctx, 1); err != nil {
				return err
			}
			healed := r.Fault("kill -9 of w0 with its EndTxn under way")
			if err := r.Kill("w0"); err != nil {
				return err
			}
			if err := hold.Abandoned(ctx); err != nil {
				return err
			}
			// The new owner asks for positions that are pending until the EndTxn has come.
			fetches := r.Cluster.Proxy().Delay(proxy.Match{APIKeys: []kmsg.Key{kmsg.OffsetFetch}, ClientID: r.ClientID("w1")}, 0)
			defer fetches.Remove()
			if err := fetches.Wait(ctx, 2); err != nil {
				return err
			}
			if err := r.Last(ctx, 2*time.Second); err != nil { // time to be wrong in
				return err
			}
			answers, err := hold.Release(ctx)
			if err != nil {
				return err
			}
			r.MustReach("EndTxn that outlived its worker", 1, func() int64 { return int64(len(answers)) })
			if err := r.Start(ctx, "w0"); err != nil {
				return err
			}
			return r.Healing(ctx, healed)
		},
	},
}

// requests matches the requests of a kind of a worker.
func (r *Run) requests(worker string, kind kmsg.Key, count int) proxy.Match {
	return proxy.Match{APIKeys: []kmsg.Key{kind}, ClientID: r.ClientID(worker), Count: count}
}

// firstOfPositions is the first request with which positions become part of a
// transaction.
func (r *Run) firstOfPositions() kmsg.Key {
	if r.Cluster.TransactionVersion() == 1 {
		return kmsg.AddOffsetsToTxn
	}
	return kmsg.TxnOffsetCommit
}

// endings matches a worker's EndTxn that commit, or that abort.
func (r *Run) endings(worker string, commit bool, count int) proxy.Match {
	m := r.requests(worker, kmsg.EndTxn, count)
	m.Where = func(q *proxy.Request) bool {
		body, err := q.Body()
		end, ok := body.(*kmsg.EndTxnRequest)
		return err == nil && ok && end.Commit == commit
	}
	return m
}

// cuts cuts connections after requests of some kinds were applied, ten times in all.
func (r *Run) cuts(ctx context.Context, kinds ...kmsg.Key) error {
	const rounds = 10
	for i := range rounds {
		if err := r.Written(ctx, float64(i+1)/(rounds+4)); err != nil {
			return err
		}
		name := r.Any()
		healed := r.Fault(fmt.Sprintf("cut after %s of %s", kinds[0].Name(), name))
		cut := r.Cluster.Proxy().CutAfterApplied(proxy.Match{APIKeys: kinds, ClientID: r.ClientID(name), Count: 1 + r.Rand.IntN(3)})
		err := cut.Wait(ctx, 1)
		cut.Remove()
		if err != nil {
			return err
		}
		r.MustReach(fmt.Sprintf("cuts, round %d", i+1), 1, cut.Hits)
		healed()
	}
	return nil
}
