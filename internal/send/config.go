package send

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/recordbatch"
	"github.com/leat-stream/leat/internal/secure"
)

// Config configures a [Producer]. It is complete: defaults are the business of
// the packages above.
type Config struct {
	// Brokers are the bootstrap addresses.
	Brokers []string
	// Connection is what concerns connections: client id, version, TLS.
	Connection *sarama.Config
	// SASL are the credentials, if its mechanism is not empty.
	SASL secure.SASL

	// Acks is -1 (all), 1 or 0.
	Acks sarama.RequiredAcks
	// Idempotent numbers the batches. It needs Acks -1 and at most 5 in flight.
	Idempotent bool
	// TransactionalID, if not empty, makes the producer transactional.
	TransactionalID string
	// TransactionTimeout is how long the broker keeps an open transaction.
	TransactionTimeout time.Duration

	Compression sarama.CompressionCodec
	// CompressionLevel is for gzip and zstd; DefaultLevel is the codec's own.
	CompressionLevel int
	// BatchSize seals a batch, in bytes before compression.
	BatchSize int
	// Linger seals a batch by its age; with LingerMax, that adapts between the two.
	Linger, LingerMax time.Duration
	// BufferMemory bounds the bytes of batches that are not settled.
	BufferMemory int64
	// MaxBlock bounds the wait for room in it; 0 does not wait.
	MaxBlock time.Duration
	// MaxRequestSize bounds one record, uncompressed.
	MaxRequestSize int
	// MaxInFlight bounds the requests under way on one connection, 1 to 5.
	MaxInFlight int
	// RequestTimeout bounds one attempt, DeliveryTimeout all of them.
	RequestTimeout, DeliveryTimeout time.Duration
	// RetryBackoff and RetryBackoffMax bound the wait between attempts.
	RetryBackoff, RetryBackoffMax time.Duration
	// DialTimeout bounds a connection's set-up.
	DialTimeout time.Duration
	// MetadataMaxAge is how old the view of the cluster may get.
	MetadataMaxAge time.Duration

	// OnBufferLow, if not nil, is called when less than a fifth of BufferMemory is
	// left, and not again before twice as much is. A Send or the machine calls it;
	// it must not block.
	OnBufferLow func()

	Logger *slog.Logger

	without rule // tests switch rules off
}

// DefaultLevel is a CompressionLevel.
const DefaultLevel = recordbatch.DefaultLevel

// maxInFlightIdempotent is what a broker remembers of a producer's batches.
const maxInFlightIdempotent = 5

// Validate reports every mistake at once.
func (c *Config) Validate() error {
	var bad []error
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	if len(c.Brokers) == 0 {
		report("no bootstrap address")
	}
	if c.Connection == nil {
		report("no connection settings")
	} else if !c.Connection.Version.IsAtLeast(sarama.V3_7_0_0) {
		// sarama would refuse every Produce request by itself; what the broker offers is another matter.
		report("the connection's version must be at least 3.7 (requests are lowered to what the broker offers), not %v", c.Connection.Version)
	}
	if c.Acks < -1 || c.Acks > 1 {
		report("acks must be -1, 0 or 1, not %d", c.Acks)
	}
	if c.TransactionalID != "" && !c.Idempotent {
		report("a transactional producer is idempotent")
	}
	if c.Idempotent && c.Acks != sarama.WaitForAll {
		report("an idempotent producer needs acks=all")
	}
	if c.MaxInFlight < 1 || c.Idempotent && c.MaxInFlight > maxInFlightIdempotent {
		report("requests in flight must be 1 to %d, not %d", maxInFlightIdempotent, c.MaxInFlight)
	}
	for name, v := range map[string]int64{
		"batch size": int64(c.BatchSize), "buffer memory": c.BufferMemory, "max request size": int64(c.MaxRequestSize),
		"request time-out": int64(c.RequestTimeout), "delivery time-out": int64(c.DeliveryTimeout), "retry backoff": int64(c.RetryBackoff),
		"maximal retry backoff": int64(c.RetryBackoffMax), "dial time-out": int64(c.DialTimeout), "metadata age": int64(c.MetadataMaxAge),
	} {
		if v <= 0 {
			report("%s must be positive", name)
		}
	}
	if c.Linger < 0 || c.MaxBlock < 0 {
		report("linger and max block must not be negative")
	}
	if c.LingerMax != 0 && c.LingerMax < c.Linger {
		report("the longest linger (%v) must not be less than linger (%v)", c.LingerMax, c.Linger)
	}
	if linger := max(c.Linger, c.LingerMax); c.DeliveryTimeout < linger+c.RequestTimeout {
		report("the delivery time-out (%v) must be at least linger (%v) plus request time-out (%v)", c.DeliveryTimeout, linger, c.RequestTimeout)
	}
	if int64(c.BatchSize) > c.BufferMemory {
		report("a batch (%d bytes) must fit into the buffer (%d bytes)", c.BatchSize, c.BufferMemory)
	}
	if c.TransactionalID != "" && (c.TransactionTimeout <= 0 || c.TransactionTimeout > math.MaxInt32*time.Millisecond) {
		report("the transaction time-out must be positive")
	}
	return errors.Join(bad...)
}
