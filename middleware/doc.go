// Package middleware has what concerns every record of a pipeline, around its whole
// chain: which headers go on, trying again, time-outs, panics, and rates.
//
// Each is an option of pipeline.New. They wrap in the order in which they are
// written, the first outermost, among those of pipeline.Use too:
//
//	p := pipeline.New("orders",
//		middleware.PropagateHeaders(middleware.Headers{Deny: []string{"cookie"}}),
//		middleware.RateLimit(1000, 100),           // waits before the tries, not between them
//		middleware.Retry(3, pipeline.Backoff{}),   // tries again what is inside
//		middleware.Timeout(time.Second),           // of each try
//		middleware.Recover(),                      // innermost: a panic is an error to all others
//	)
//
// A mistake in an option is reported by the pipeline's Validate. Package
// middleware/otel traces. The policies and options of single stages (pipeline.Retry,
// pipeline.Timeout) run one function again; these run all stages again.
package middleware
