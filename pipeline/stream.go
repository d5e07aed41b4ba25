package pipeline

import "context"

// Stream is a typed sequence of records between two nodes of a pipeline. Using a
// Stream twice makes a branch: both consumers see every record, in the order in
// which they were attached. The zero Stream belongs to no pipeline, and what is
// made from it does not either.
type Stream[T any] struct {
	n    *node
	port int
}

// Pipeline returns the pipeline that the stream belongs to.
func (s Stream[T]) Pipeline() *Pipeline {
	if s.n == nil {
		return nil
	}
	return s.n.p
}

func (s Stream[T]) feed(n *node) {
	o := s.n.ports[s.port]
	o.consumers = append(o.consumers, n)
	n.feeds++
}

// Next is the rest of a chain: it takes a record downstream and returns when all
// of it has been done. A stage returns its error as it is: it has been given its
// stage already.
type Next[T any] func(ctx context.Context, r *Record[T]) error

func nexts[T any](entries []any) []Next[T] {
	out := make([]Next[T], len(entries))
	for i, e := range entries {
		out[i] = e.(Next[T])
	}
	return out
}

func fanOut[T any](branches []Next[T]) Next[T] {
	return func(ctx context.Context, r *Record[T]) error {
		for _, next := range branches {
			if err := next(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}
