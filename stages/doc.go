// Package stages has the usual steps of a pipeline: each takes a stream and
// returns another.
//
//	[Map], [FlatMap]                 another value, or several, for each
//	[Filter], [Check], [Peek]        drop, reject, look at
//	[KeyBy], [Enrich]                set the key, look something up
//	[EnrichAsync], [Parallel]        many look-ups, or cores, at once
//	[Split], [Branch]                branch
//	[Route], [Merge]                 choose the topic, bring together
//	[Batch], [BatchByKey]            many at once
//	[Dedupe]                         once each, over restarts
//	[JoinLatest]                     two streams by key
//
// A stage's function takes the value, so that method expressions fit and the
// types are inferred: stages.Check(orders, "validate", Order.Validate). The Ctx
// variants take a context before it, for functions that wait; the Record variants
// take a context and the whole record, with key, headers, time and origin.
//
// # Rules for all of them
//
// The name is the stage's name in errors, metrics, spans, the drawing and the
// headers of dead letters; it is unique within the pipeline.
//
// A function runs on the goroutine of an input partition, but for those of
// EnrichAsync and Parallel, which are called on goroutines of the stage. Each partition has a
// chain of its own, so a function is called concurrently as soon as there are two
// partitions: state that it shares with other calls needs a lock. It must not
// change the record or what the value refers to, since other branches see the
// same, and it must not keep the *Record after it has returned: the memory is
// used for the next one. The value, the key and the headers may be kept.
//
// An error, or a panic, is the record's error in this stage, and the stage's
// policy decides: [pipeline.OnError]. A function that returns an error runs again
// under [pipeline.Retry] or while its error is marked [pipeline.Retriable];
// nothing has left the stage by then. [pipeline.Timeout] bounds each call of a
// function that takes a context. A record that is replayed, after an aborted
// transaction or a crash, runs through every function again: what they do outside
// of the pipeline happens at least once.
//
// Dedupe and JoinLatest keep what they know in a topic of their own: what is there is what
// was committed.
//
// Batch and BatchByKey hold records back, but never longer than a transaction: what they
// hold is aborted and replayed with it.
//
// A call costs a few nanoseconds more than the function and allocates nothing,
// unless a stage says otherwise. The head of a record, some 100 bytes, is copied
// by the stages that make a new value.
//
// # Writing a kind of your own
//
// [pipeline.Apply] takes a [pipeline.Stage]; the files of this package are short
// examples of it.
package stages
