package kafka

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// Acks is whose acknowledgement a batch waits for. Kafka: acks.
type Acks uint8

const (
	// AcksAll waits for every replica that is in sync. How many those are at least
	// is the topic's min.insync.replicas: with 1, the default, it may be the leader
	// alone. It is the zero value.
	AcksAll Acks = iota
	// AcksLeader waits for the leader. What it has not passed on when it fails is
	// lost.
	AcksLeader
	// AcksNone waits for nobody: a batch counts as written when the connection has
	// taken it, its offset is -1, and there are no retries. What the broker refuses
	// is lost without an error.
	AcksNone
)

// String is Kafka's value for it.
func (a Acks) String() string {
	switch a {
	case AcksAll:
		return "all"
	case AcksLeader:
		return "1"
	case AcksNone:
		return "0"
	default:
		return fmt.Sprintf("Acks(%d)", uint8(a))
	}
}

func (a Acks) required() sarama.RequiredAcks {
	switch a {
	case AcksLeader:
		return sarama.WaitForLocal
	case AcksNone:
		return sarama.NoResponse
	default:
		return sarama.WaitForAll
	}
}

// Idempotence says whether batches are numbered, so that the broker drops doubles.
// Kafka: enable.idempotence.
type Idempotence uint8

const (
	// IdempotenceDefault is on with AcksAll and off otherwise.
	IdempotenceDefault Idempotence = iota
	// IdempotenceOn refuses a configuration that does not go with it.
	IdempotenceOn
	// IdempotenceOff lets retries double records.
	IdempotenceOff
)

// maxInFlightIdempotent is how many batches of a producer a broker remembers.
const maxInFlightIdempotent = 5

func (c ProducerConfig) acksMistakes() (bad []error) {
	if c.Acks > AcksNone {
		bad = append(bad, fmt.Errorf("Producer.Acks: %d is not known", c.Acks))
	}
	if c.Idempotence > IdempotenceOff {
		bad = append(bad, fmt.Errorf("Producer.Idempotence: %d is not known", c.Idempotence))
	}
	if c.Idempotence == IdempotenceOn && c.Acks != AcksAll {
		bad = append(bad, fmt.Errorf("Producer.Idempotence needs Acks AcksAll, not acks=%v", c.Acks))
	}
	if c.MaxInFlight < 0 {
		bad = append(bad, errors.New("Producer.MaxInFlight must not be negative"))
	}
	if c.MaxInFlight > maxInFlightIdempotent && c.Idempotence != IdempotenceOff && c.Acks == AcksAll {
		bad = append(bad, fmt.Errorf("Producer.MaxInFlight: %d is more than the %d with which a broker can drop doubles", c.MaxInFlight, maxInFlightIdempotent))
	}
	return bad
}
