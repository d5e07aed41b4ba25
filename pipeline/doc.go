// Package pipeline is the typed core of Leat: records, streams and stages, the
// graph that they form, and the engine that runs it exactly once.
//
// A [Pipeline] is data. [From] adds an input topic and returns a [Stream];
// stages (package stages) take a stream and return another; [To] ends one in an
// output topic. Building starts nothing and knows no broker. Mismatched types do
// not compile, and every other mistake is reported at once by
// [Pipeline.Validate].
//
// [Run] connects a pipeline to a [Source] and a [Sink]. For each input partition
// it compiles the graph into one call chain, a [Task]: no channel, goroutine, map
// or allocation of Leat's stands between two stages. Outputs of an input record
// are staged until its chain ends, so half a fan-out never leaves.
//
// The package imports no transport. Package sinks/kafka runs pipelines on a Kafka
// cluster, package pipelinetest in memory.
package pipeline
