package sqlsink

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/pipeline"
)

// The errors that a caller may want to tell apart. They arrive wrapped; compare with
// errors.Is.
var (
	// ErrNoWriter says that the pipeline has an output, perhaps its dead letters, that
	// no writer is for. Run fails with it before it starts.
	ErrNoWriter = errors.New("no writer for an output of the pipeline")
	// ErrFenced says that a partition has been taken by another worker since, or that its
	// row was changed by hand. Nothing of the transaction is committed; the worker
	// begins a new session.
	ErrFenced = errors.New("the partition has been taken by another worker")
	// ErrReplaced says that a topic was deleted and made again since its positions were
	// stored: they mean nothing in the new one. Delete its rows to begin it anew.
	ErrReplaced = errors.New("the topic is not the one whose positions are stored, it was deleted and made again; delete its rows from the table to begin it anew")
	// ErrEnded says that a write function has ended the transaction. The pipeline
	// fails: what it has committed so would be repeated.
	ErrEnded = errors.New("a write function has ended the transaction, which is the sink's to end")
)

// definite is an error before the COMMIT was sent: nothing is committed.
func definite(op string, err error) error {
	return &pipeline.SinkError{Op: op, Verdict: pipeline.Abortable, Err: err}
}

// open is an error that leaves open what has become of the transaction, or of the
// partitions.
func open(op string, err error) error { return &pipeline.SinkError{Op: op, Err: err} }

// failed says what an error of a writer means, for the outputs that it was called with.
func (s *Sink) failed(w *Writer, outputs []pipeline.Output, err error) error {
	if s.cfg.Classify != nil {
		err = s.cfg.Classify(err)
	}
	err = s.cfg.Dialect.Classify(err)
	se := &pipeline.SinkError{Op: "write", Verdict: pipeline.Abortable, Err: fmt.Errorf("output %q: %w", w.topic, err)}
	switch {
	case pipeline.IsFatal(err):
		return pipeline.Fatal(se)
	case pipeline.IsRetriable(err):
		return se
	}
	s.careful = true // there may be others
	if len(outputs) == 1 {
		se.Rejected = []pipeline.Rejection{{Origin: outputs[0].Origin, Topic: w.topic, Err: err}}
	}
	return se
}
