package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// The errors of a [Producer], mostly wrapped in a [*DeliveryError]. A record that is
// too large has [pipeline.ErrTooLarge], a topic that does not exist
// [pipeline.ErrMissingTopic].
var (
	// ErrClosed: the producer is closed. A record that was taken before may or may
	// not be written.
	ErrClosed = send.ErrClosed
	// ErrBufferFull: no room within MaxBlock, in the buffer or among MaxPending. The
	// record was not taken.
	ErrBufferFull = send.ErrBufferFull
	// ErrTimestamp: the record's timestamp is before 1970. It was not taken.
	ErrTimestamp = send.ErrTimestamp
	// ErrDeliveryTimeout: not acknowledged within DeliveryTimeout, with the last
	// attempt's error beside it. If it was sent, it may be written.
	ErrDeliveryTimeout = send.ErrDeliveryTimeout
	// ErrAborted: the record's transaction was aborted.
	ErrAborted = send.ErrAborted
	// ErrFenced: another producer uses the transactional id.
	ErrFenced = send.ErrFenced
	// ErrUnknownOutcome: whether the transaction was committed is not known.
	ErrUnknownOutcome = send.ErrUnknown
	// ErrHeaders: more or larger headers than the settings allow. The record was not
	// taken.
	ErrHeaders = errors.New("too many or too large headers")
)

// Class is what an error means for whoever wants the record written.
type Class uint8

const (
	// Retriable errors pass: a leader that moved, replicas that are missing, a
	// time-out, a full buffer. The producer has retried until DeliveryTimeout;
	// sending again may succeed, and may write the record twice.
	Retriable Class = iota
	// Abortable: the transaction was or has to be aborted; it can be run again.
	Abortable
	// Recoverable: this producer cannot go on, a new one can: it was closed or
	// fenced, or the outcome of a commit is unknown.
	Recoverable
	// Fatal errors stay until somebody changes something: rights, versions,
	// credentials, a topic that does not exist.
	Fatal
	// RecordFault: the record itself is refused: too large, a timestamp before
	// 1970, too many headers, a partition that does not exist, a value that cannot
	// be encoded.
	RecordFault
)

// String names the class.
func (c Class) String() string {
	names := [...]string{"retriable", "abortable", "recoverable", "fatal", "the record's"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// DeliveryError is why one record was not written, or is not known to be. It contains
// nothing of the record.
type DeliveryError struct {
	Topic string
	// Partition is -1 if none was chosen yet.
	Partition int32
	// Attempts is how often the record was sent, 0 if never.
	Attempts int
	Class    Class
	Err      error
}

// Error says where, how often, and why.
func (e *DeliveryError) Error() string {
	where := fmt.Sprintf("%s[%d]", e.Topic, e.Partition)
	if e.Partition < 0 {
		where = e.Topic
	}
	if e.Attempts == 0 {
		return fmt.Sprintf("%s: %v", where, e.Err)
	}
	return fmt.Sprintf("%s, attempt %d: %v", where, e.Attempts, e.Err)
}

// Unwrap returns the cause; errors.Is and As go on from there.
func (e *DeliveryError) Unwrap() error { return e.Err }

// Code is the broker's error code in Kafka's protocol, 0 if no broker refused the
// record.
func (e *DeliveryError) Code() int16 {
	if code, ok := errors.AsType[sarama.KError](e.Err); ok {
		return int16(code)
	}
	return 0
}

func newDeliveryError(topic string, partition int32, err error) *DeliveryError {
	if e, ok := err.(*DeliveryError); ok {
		return e
	}
	e := &DeliveryError{Topic: topic, Partition: partition, Err: err}
	if f, ok := errors.AsType[*send.Failure](err); ok {
		e.Attempts, e.Err = f.Attempts, f.Err
	}
	e.Class = ClassOf(e.Err)
	return e
}

// ClassOf classifies an error of this package's producer, wrapped or not.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*TransactionError](err); ok {
		return e.Class
	}
	if e, ok := errors.AsType[*DeliveryError](err); ok {
		return e.Class
	}
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case pipeline.IsRetriable(err): // a registry that is down
		return Retriable
	case pipeline.IsFatal(err), cluster.IsAuth(err), is(send.ErrFatal, pipeline.ErrMissingTopic, pipeline.ErrInvalid, ErrTransaction):
		return Fatal
	case is(ErrClosed, ErrFenced, ErrUnknownOutcome):
		return Recoverable
	case is(ErrAborted, send.ErrAbortable):
		return Abortable
	case is(pipeline.ErrTooLarge, ErrTimestamp, ErrHeaders, ErrPartition, ErrEncode):
		return RecordFault
	}
	if code, ok := errors.AsType[sarama.KError](err); ok {
		return classOfCode(code)
	}
	return Retriable
}

func classOfCode(code sarama.KError) Class {
	switch code {
	case sarama.ErrUnsupportedVersion, sarama.ErrUnsupportedForMessageFormat, sarama.ErrInvalidTopic, sarama.ErrPolicyViolation, sarama.ErrInvalidRequiredAcks:
		return Fatal
	case sarama.ErrMessageSizeTooLarge, sarama.ErrMessageSetSizeTooLarge, sarama.ErrInvalidTimestamp, sarama.ErrInvalidRecord:
		return RecordFault
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch, sarama.ErrInvalidProducerIDMapping, sarama.ErrInvalidTxnState:
		return Recoverable
	default:
		return Retriable
	}
}
