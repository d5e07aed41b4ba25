// Package pipelinetest runs pipelines in memory, with no broker: on the engine
// that runs them on Kafka, between a [Cluster] that a test feeds and reads.
//
//	c := pipelinetest.For(p)                                // every topic of p
//	c.Feed("orders", pipelinetest.Value(orders, order))     // encoded by a serde
//	pipelinetest.Run(t, p, c)                               // until all is committed
//	got := pipelinetest.Values(c, "orders.enriched", enriched)
//
// [Cluster.Records], [Cluster.DeadLetters] and [Cluster.Committed] read what was
// committed, [Cluster.Uncommitted] and [Cluster.OpenTransactions] the rest.
// Records go to the partitions that package sinks/kafka would choose.
//
// # Fake time
//
// The cluster does no I/O. Within a testing/synctest bubble every wait of the
// engine and of the cluster is a durable one, so that time-outs, backoffs and
// commit intervals take no time:
//
//	synctest.Test(t, func(t *testing.T) {
//		c := pipelinetest.For(p)
//		w := c.Start(t.Context(), p)
//		c.Feed(…)
//		time.Sleep(time.Hour) // returns at once
//		…
//	})
//
// Create the cluster inside the bubble. A pipeline whose stages do I/O of their own
// needs real time: then [Cluster.Run] costs about one commit interval, 100 ms.
//
// # Faults
//
// [Cluster.Inject] makes a named [Step] of the engine's protocol go wrong, before or
// after it has had its effect, in one of the ways of [Kind]; [Cluster.OnStep] is
// the general form. [EveryStep] does so for all of them in turn and looks for a
// record that is lost or doubled: give it every stage with state. [Into] puts a sink of
// another kind in the place of the cluster's topics, and into EveryStep.
//
// [Cluster.Start] runs workers that share a group: [Cluster.Move] and
// [Cluster.Rebalance] disturb them, [Worker.Crash], [Worker.LoseSession] and
// [Worker.Freeze] end or estrange one.
//
// What the cluster cannot show is what needs several brokers or a real network:
// leader changes, marker races, partial writes. Package embedded and the tests on a
// real Kafka are for that.
package pipelinetest
