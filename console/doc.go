// Package console shows running pipelines on one page, for people who operate them:
// the graph with its rates, latencies, lag and errors, the open transaction, the
// partitions, the last dead letters, and the configuration in force.
//
//	live, err := console.New(console.Config{})
//	…
//	l, err := console.Listen(":8080") // 127.0.0.1:8080
//	go live.Serve(ctx, l)
//	err = kafka.Run(ctx, p, kafka.Config{Observers: []pipeline.Observer{live}, …})
//
// A [Console] is an observer of any number of runs of one process and an
// http.Handler, to be mounted anywhere:
//
//	/            the page
//	/state.json  what the page shows, see [State]
//	/metrics     Prometheus' text format, see docs/observability
//	/healthz     200, or 503 when a run has ended with an error
//	/readyz      200 when every run is joined and commits, else 503 with the reasons
//
// It is read only. It holds payloads of dead letters, so it listens on loopback
// unless it is told otherwise, and Config.HidePayloads does without them.
package console
