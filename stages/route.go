package stages

import "github.com/leat-stream/leat/pipeline"

// Route ends a stream in a topic that topicOf chooses for each value. It must be
// one of topics, which must all exist; another one is the record's error
// [pipeline.ErrUnknownTopic]. The options are those of [pipeline.To].
func Route[T any](s pipeline.Stream[T], name string, topicOf func(T) string, topics []string, serde pipeline.Serde[T], opts ...pipeline.StageOption) {
	pipeline.ToEach(s, name, func(r *pipeline.Record[T]) string { return topicOf(r.Value) }, topics, serde, opts...)
}

// RouteRecord is Route by the whole record. A choice that waits for something
// belongs into a [MapCtx] before it.
func RouteRecord[T any](s pipeline.Stream[T], name string, topicOf func(*pipeline.Record[T]) string, topics []string, serde pipeline.Serde[T], opts ...pipeline.StageOption) {
	pipeline.ToEach(s, name, topicOf, topics, serde, opts...)
}
