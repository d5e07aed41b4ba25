package pipeline

import (
	"errors"
	"fmt"
	"strings"
)

// The errors that a caller may want to tell apart. They arrive wrapped, mostly
// in a [StageError] that says where; compare with errors.Is.
var (
	// ErrInvalid is what Validate's errors wrap: the graph or an option is wrong
	// and nothing was started.
	ErrInvalid = errors.New("invalid configuration")
	// ErrTombstone is the error of a record with a null value whose input has a
	// serde that knows no null. Tombstones(Skip) drops such records.
	ErrTombstone = errors.New("null value (a tombstone); drop these with pipeline.Tombstones(pipeline.Skip)")
	// ErrTooLarge is the error of a record one of whose outputs is larger than
	// the producer or the broker takes.
	ErrTooLarge = errors.New("record too large")
	// ErrNotFound is the error of a record for which a look-up found nothing.
	ErrNotFound = errors.New("not found")
	// ErrHeld says that a stage holds records that are to be committed, or has made a group
	// of records one of which is being processed: an error of the stage's author.
	ErrHeld = errors.New("a stage still holds records")
	// ErrUnknownTopic is the error of a record that Route sends to a topic which
	// was not declared.
	ErrUnknownTopic = errors.New("topic is not among the declared ones")
	// ErrMissingTopic says that a topic of the pipeline does not exist. Leat
	// never creates one by accident.
	ErrMissingTopic = errors.New("topic does not exist")
	// ErrDeadLetterLimit says that more dead letters came within a minute than
	// DeadLetterLimit allows.
	ErrDeadLetterLimit = errors.New("more dead letters within a minute than allowed")
	// ErrDeadLetterTooLarge says that a dead letter is itself too large to be
	// written. The pipeline fails rather than lose the record.
	ErrDeadLetterTooLarge = errors.New("the dead letter is too large to be written")
	// ErrRetryTooLarge says the same of a record for a retry topic, which is larger than
	// it was by its headers.
	ErrRetryTooLarge = errors.New("the record is too large to be written to a retry topic")
	// ErrOrder says that a stage has held a record of an input that is retried in order.
	ErrOrder = errors.New("a stage that holds records (EnrichAsync, Parallel, Batch) does not keep the order of retries; use RetryTopics, or a stage that does not hold")
	// ErrOvertaken says that a record is to change the state of a stage where a later one
	// has, for one branch before the stage holds records and another does not.
	ErrOvertaken = errors.New("a later record was here first, since some branches before this stage hold records (EnrichAsync, Parallel, Batch) and others do not; bring the branches together with pipeline.Through before this stage")
	// ErrStuck says that a stage had not returned when its partition had to be
	// given up. It was left behind; nothing of that record is committed.
	ErrStuck = errors.New("the stage did not return in time and was left behind; make it heed its context")
	// ErrStopTimeout says that the pipeline could not stop in order in the time
	// it was given. What was not committed is processed again at the next start.
	ErrStopTimeout = errors.New("did not stop within the deadline")
	// ErrRebalanced is what a sink's or a session's error wraps when positions were refused
	// because the consumer group has gone on to another generation. Their input is
	// processed again, by whoever has its partitions then.
	ErrRebalanced = errors.New("the consumer group has rebalanced")
	// ErrGuarantee says that the source and the sink together cannot promise
	// what Require asked for.
	ErrGuarantee = errors.New("guarantee cannot be kept")
)

// StageError is the error of one record in one stage.
type StageError struct {
	Pipeline string
	Stage    string
	// Origin is the input record that was being processed.
	Origin Origin
	Err    error

	policy Policy // the failing stage's
}

// Error names pipeline, stage, topic, partition and offset. It never contains
// the record's key, value or headers; the error inside it is the stage's own.
func (e *StageError) Error() string {
	return fmt.Sprintf("pipeline %q, stage %q, record %v: %v", e.Pipeline, e.Stage, e.Origin, e.Err)
}

// Unwrap returns the stage's own error.
func (e *StageError) Unwrap() error { return e.Err }

// PanicError is a panic in a user function, as the error of its stage.
type PanicError struct {
	Value any
	// Stack is the stack of the goroutine at the panic.
	Stack []byte
}

// Error returns the panic's value; the stack is only in Stack.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the function ended its goroutine (runtime.Goexit)"
	}
	return fmt.Sprintf("panic: %v", e.Value)
}

// Unwrap returns the value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

type class uint8

const (
	classRetriable class = iota + 1
	classFatal
)

type classified struct {
	error
	class class
}

func (c *classified) Unwrap() error { return c.error }

// Retriable marks an error as one that passes: a registry or a service that does
// not answer. The partition waits, with exponential backoff and without limit,
// and runs the same function again; it never becomes a dead letter. The
// partition holds no transaction open meanwhile. nil stays nil.
func Retriable(err error) error { return classify(err, classRetriable) }

// Fatal marks an error as everyone's, not the record's: wrong credentials, a
// schema that cannot be resolved. It fails the pipeline whatever the policy. nil
// stays nil.
func Fatal(err error) error { return classify(err, classFatal) }

func classify(err error, c class) error {
	if err == nil {
		return nil
	}
	return &classified{error: err, class: c}
}

// IsRetriable reports whether err was marked with [Retriable]; the outermost
// mark counts.
func IsRetriable(err error) bool { return classOf(err) == classRetriable }

// IsFatal reports whether err was marked with [Fatal]; the outermost mark counts.
func IsFatal(err error) bool { return classOf(err) == classFatal }

func classOf(err error) class {
	if c, ok := errors.AsType[*classified](err); ok {
		return c.class
	}
	return 0
}

// invalid joins mistakes into one error that wraps ErrInvalid, or returns nil.
func invalid(what string, mistakes []error) error {
	if len(mistakes) == 0 {
		return nil
	}
	return &invalidError{what: what, mistakes: mistakes}
}

type invalidError struct {
	what     string
	mistakes []error
}

func (e *invalidError) Error() string {
	lines := make([]string, 0, len(e.mistakes)+1)
	lines = append(lines, fmt.Sprintf("%v: %s:", ErrInvalid, e.what))
	for _, m := range e.mistakes {
		lines = append(lines, "  "+m.Error())
	}
	return strings.Join(lines, "\n")
}

func (e *invalidError) Unwrap() []error { return append([]error{ErrInvalid}, e.mistakes...) }
