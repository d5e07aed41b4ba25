package send

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// The errors of this package. A code of the broker is wrapped beside them as a
// sarama.KError.
var (
	// ErrClosed: the producer is closed; the record may or may not be written.
	ErrClosed = errors.New("producer is closed")
	// ErrBufferFull: no room in the buffer within MaxBlock. The record was not
	// taken.
	ErrBufferFull = errors.New("buffer is full")
	// ErrTooLarge: the record is larger than MaxRequestSize, the buffer, or what
	// the broker takes.
	ErrTooLarge = pipeline.ErrTooLarge
	// ErrTimestamp: the record's timestamp is before 1970, which Kafka cannot
	// hold. The record was not taken.
	ErrTimestamp = errors.New("timestamp before 1970")
	// ErrDeliveryTimeout: not acknowledged within DeliveryTimeout. Whether it is
	// written is unknown if it was sent. What the last attempt met, if there was
	// one, is wrapped beside it.
	ErrDeliveryTimeout = errors.New("not acknowledged within the delivery time-out")
	// ErrUnknownTopic: the topic, or this partition of it, does not exist.
	ErrUnknownTopic = errors.New("topic or partition does not exist")
	// ErrAborted: the record's transaction is being aborted.
	ErrAborted = errors.New("transaction aborted")
	// ErrAbortable: the transaction can only be aborted; nothing of it will be
	// visible.
	ErrAbortable = errors.New("transaction must be aborted")
	// ErrUnknown: the transaction's outcome is unknown; the producer is of no
	// use any more, and a new one with the same id settles it.
	ErrUnknown = errors.New("outcome of the transaction is unknown")
	// ErrFenced: another producer has taken the transactional id.
	ErrFenced = errors.New("producer is fenced")
	// ErrFatal: the producer cannot go on and another would fare the same.
	ErrFatal = errors.New("producer has failed")
	// ErrState: a call that does not fit the transaction's state.
	ErrState = errors.New("no such call in this state")
)

// Failure is the error that a record's Done is told: the error itself, and how often
// its batch was sent.
type Failure struct {
	Attempts int
	Err      error
}

// Error is the error's own text.
func (f *Failure) Error() string { return f.Err.Error() }

// Unwrap returns the error itself.
func (f *Failure) Unwrap() error { return f.Err }

// codeError is a broker's refusal with what it means.
func codeError(kind, code error) error { return fmt.Errorf("%w: %w", kind, code) }

type codeClass uint8

const (
	codeOther       codeClass = iota // the batch's or the call's own fault
	codeOK                           //
	codeRetry                        // try again
	codeLeader                       // try again with a fresh view of the cluster
	codeCoordinator                  // try again with a fresh coordinator
	codeFenced                       //
	codeFatal                        // no other attempt or producer would fare better
)

func classify(code sarama.KError) codeClass {
	switch code {
	case sarama.ErrNoError:
		return codeOK
	case sarama.ErrNotLeaderForPartition, sarama.ErrLeaderNotAvailable, sarama.ErrUnknownTopicOrPartition, sarama.ErrFencedLeaderEpoch,
		sarama.ErrUnknownLeaderEpoch, sarama.ErrKafkaStorageError, sarama.ErrReplicaNotAvailable:
		return codeLeader
	case sarama.ErrNotCoordinatorForConsumer, sarama.ErrConsumerCoordinatorNotAvailable:
		return codeCoordinator
	case sarama.ErrNotEnoughReplicas, sarama.ErrNotEnoughReplicasAfterAppend, sarama.ErrRequestTimedOut, sarama.ErrNetworkException,
		sarama.ErrUnknown, sarama.ErrConcurrentTransactions, sarama.ErrOffsetsLoadInProgress, sarama.ErrInvalidMessage,
		sarama.ErrThrottlingQuotaExceeded:
		return codeRetry
	case sarama.ErrProducerFenced, sarama.ErrInvalidProducerEpoch:
		return codeFenced
	case sarama.ErrTransactionalIDAuthorizationFailed, sarama.ErrClusterAuthorizationFailed, sarama.ErrUnsupportedVersion,
		sarama.ErrUnsupportedForMessageFormat, sarama.ErrSASLAuthenticationFailed, sarama.ErrInvalidTransactionTimeout:
		return codeFatal
	default:
		return codeOther
	}
}
