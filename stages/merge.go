package stages

import "github.com/leat-stream/leat/pipeline"

// Merge makes one stream of several of the same type and pipeline. Records of one
// input partition keep their order within each stream; a record that comes by two
// of them is seen twice. What follows a Merge is one stage with one state, however
// many branches of a partition feed it. It costs nothing.
func Merge[T any](name string, streams ...pipeline.Stream[T]) pipeline.Stream[T] {
	return pipeline.Join(name, streams...)
}
