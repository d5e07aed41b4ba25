package kafka

import (
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// ProducerConfig configures the producer, of a pipeline as well as a [Producer]. The
// zero value means the defaults. [Throughput], [LowLatency] and [Durable] are values
// to begin with.
type ProducerConfig struct {
	// Acks is whose acknowledgement is waited for. Kafka: acks. Default: AcksAll,
	// the only one that a pipeline or a transaction takes.
	Acks Acks
	// Idempotence has the broker drop doubles that retries make. Kafka:
	// enable.idempotence. Default: on with AcksAll, off with other Acks.
	Idempotence Idempotence
	// MaxInFlight bounds the requests under way to one broker. Kafka:
	// max.in.flight.requests.per.connection. Default: 5 with idempotence, which is
	// also the most; 1 without, since a retry would change the order.
	MaxInFlight int

	// Compression compresses whole batches. Kafka: compression.type. Default:
	// LZ4.
	Compression Compression
	// CompressionLevel is for Gzip (1 to 9; Kafka: compression.gzip.level) and Zstd
	// (1 to 22; Kafka: compression.zstd.level), of which the library has four steps:
	// below 3, 3 to 5, 6 to 9, and above. Default: the codec's own.
	CompressionLevel int
	// Linger is how long a batch waits for more records. Kafka: linger.ms.
	// Default: 5 ms, and NoLinger with LingerMax; NoLinger sends at once.
	Linger time.Duration
	// LingerMax makes linger adaptive: it moves between Linger and LingerMax. It rises
	// while requests overlap that carry batches which are not full, falls when requests
	// carry one record each for all the waiting, and batches leave early when no more
	// records come. Good for bursts; a steady full load fills batches anyway. Default: 0,
	// Linger is fixed.
	LingerMax time.Duration
	// BatchSize seals a batch, in bytes before compression. Kafka: batch.size.
	// Default: 128 KiB.
	BatchSize int
	// BufferMemory bounds the bytes of records that are not acknowledged; a send
	// waits for room. Kafka: buffer.memory. Default: 32 MiB.
	BufferMemory int64
	// MaxBlock bounds each of a send's waits: for room, and for the partitions of a
	// topic that is not known yet; and the start of a [Producer]. Kafka: max.block.ms.
	// Default: 60 s, and DeliveryTimeout in a pipeline; NoWait does not wait for room.
	MaxBlock time.Duration
	// MaxRequestSize bounds one record, uncompressed, in bytes. Kafka:
	// max.request.size. Default: 1 MiB.
	MaxRequestSize int

	// RequestTimeout bounds one attempt. Kafka: request.timeout.ms. Default: 10 s.
	RequestTimeout time.Duration
	// DeliveryTimeout bounds the retries of a batch. Kafka: delivery.timeout.ms.
	// Default: 120 s.
	DeliveryTimeout time.Duration
	// MetadataMaxAge is how old the view of the cluster may get: after how long
	// partitions that are added to a topic are used. Kafka: metadata.max.age.ms.
	// Default: 5 min.
	MetadataMaxAge time.Duration
	// RetryBackoff is the pause before the first retry, doubled for each further
	// one, give or take 20 %. Kafka: retry.backoff.ms. Default: 100 ms.
	RetryBackoff time.Duration
	// RetryBackoffMax is the longest pause. Kafka: retry.backoff.max.ms. Default:
	// 1 s, or RetryBackoff if that is more.
	RetryBackoffMax time.Duration
	// TransactionTimeout is how long the broker keeps an open transaction of a
	// producer that is gone. Kafka: transaction.timeout.ms. Default: 15 s, and at
	// least three times CommitInterval; 60 s for a [Producer].
	TransactionTimeout time.Duration
}

// NoLinger is the Linger that sends batches at once.
const NoLinger time.Duration = -1

// NoWait is the MaxBlock that does not wait for room: [ErrBufferFull] comes at once.
const NoWait time.Duration = -1

// Compression is a codec for batches.
type Compression uint8

// The codecs. LZ4 costs little and is the default; Zstd compresses best.
const (
	LZ4 Compression = iota
	NoCompression
	Snappy
	Gzip
	Zstd
)

// String is Kafka's value for it.
func (c Compression) String() string {
	switch c {
	case LZ4:
		return "lz4"
	case NoCompression:
		return "none"
	case Snappy:
		return "snappy"
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	default:
		return fmt.Sprintf("Compression(%d)", uint8(c))
	}
}

const (
	defaultLinger             = 5 * time.Millisecond
	defaultMaxRequestSize     = 1 << 20
	defaultTransactionTimeout = 15 * time.Second
	defaultDeliveryTimeout    = 120 * time.Second
	defaultRequestTimeout     = 10 * time.Second
	defaultMetadataMaxAge     = 5 * time.Minute
	defaultRetryBackoff       = 100 * time.Millisecond
	defaultRetryBackoffMax    = time.Second
	defaultMaxBlock           = time.Minute
	defaultBatchSize          = 128 << 10
	defaultBufferMemory       = 32 << 20
	defaultApplication        = "leat"
)

// WithDefaults returns c with the defaults of a pipeline in place of zero values, but
// for MaxBlock's. NoLinger stays NoLinger.
func (c ProducerConfig) WithDefaults() ProducerConfig {
	d := c.withDefaults(pipeline.DefaultCommitInterval)
	if c.Linger == NoLinger {
		d.Linger = NoLinger
	}
	return d
}

// withDefaults leaves MaxBlock alone: its default is not the same for everyone.
func (c ProducerConfig) withDefaults(commitInterval time.Duration) ProducerConfig {
	if c.LingerMax > 0 {
		orDefault(&c.Linger, NoLinger)
	}
	orDefault(&c.Linger, defaultLinger)
	if c.Linger == NoLinger {
		c.Linger = 0
	}
	orDefault(&c.MaxRequestSize, defaultMaxRequestSize)
	orDefault(&c.TransactionTimeout, max(defaultTransactionTimeout, 3*commitInterval))
	orDefault(&c.BatchSize, defaultBatchSize)
	orDefault(&c.BufferMemory, defaultBufferMemory)
	orDefault(&c.RequestTimeout, defaultRequestTimeout)
	orDefault(&c.DeliveryTimeout, defaultDeliveryTimeout)
	orDefault(&c.MetadataMaxAge, defaultMetadataMaxAge)
	orDefault(&c.RetryBackoff, defaultRetryBackoff)
	orDefault(&c.RetryBackoffMax, max(defaultRetryBackoffMax, c.RetryBackoff))
	if c.Idempotence == IdempotenceDefault {
		c.Idempotence = IdempotenceOn
		if c.Acks != AcksAll {
			c.Idempotence = IdempotenceOff
		}
	}
	if c.Idempotence == IdempotenceOn {
		orDefault(&c.MaxInFlight, maxInFlightIdempotent)
	}
	orDefault(&c.MaxInFlight, 1)
	return c
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

func (c ProducerConfig) mistakes(commitInterval time.Duration) (bad []error) {
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }
	bad = append(bad, c.acksMistakes()...)
	if c.Compression > Zstd {
		report("Producer.Compression: %d is not known", c.Compression)
	}
	most := map[Compression]int{Gzip: 9, Zstd: 22}[c.Compression]
	switch {
	case c.CompressionLevel == 0:
	case most == 0:
		report("Producer.CompressionLevel is for Gzip and Zstd: Snappy and NoCompression have no levels, and LZ4 is written with its fast one only")
	case c.CompressionLevel < 1 || c.CompressionLevel > most:
		report("Producer.CompressionLevel: %d is not among 1 to %d", c.CompressionLevel, most)
	}
	if c.Linger < 0 && c.Linger != NoLinger {
		report("Producer.Linger must not be negative; NoLinger sends at once")
	}
	if c.MaxBlock < 0 && c.MaxBlock != NoWait {
		report("Producer.MaxBlock must not be negative; NoWait does not wait")
	}
	negative := false
	for name, v := range map[string]int64{
		"MaxRequestSize": int64(c.MaxRequestSize), "BatchSize": int64(c.BatchSize), "BufferMemory": c.BufferMemory,
		"RequestTimeout": int64(c.RequestTimeout), "DeliveryTimeout": int64(c.DeliveryTimeout), "TransactionTimeout": int64(c.TransactionTimeout),
		"RetryBackoff": int64(c.RetryBackoff), "RetryBackoffMax": int64(c.RetryBackoffMax),
		"MetadataMaxAge": int64(c.MetadataMaxAge), "LingerMax": int64(c.LingerMax),
	} {
		if v < 0 {
			negative = true
			report("Producer.%s must not be negative", name)
		}
	}
	if negative {
		return bad
	}
	d := c.withDefaults(commitInterval)
	linger, longest := "Linger", d.Linger
	if d.LingerMax > 0 {
		linger, longest = "LingerMax", d.LingerMax
	}
	if d.DeliveryTimeout < longest+d.RequestTimeout {
		report("Producer.DeliveryTimeout: %v is less than %s (%v) and RequestTimeout (%v) together; no attempt could be repeated", d.DeliveryTimeout, linger, longest, d.RequestTimeout)
	}
	if d.LingerMax > 0 && d.LingerMax < d.Linger {
		report("Producer.LingerMax: %v is less than Linger (%v)", d.LingerMax, d.Linger)
	}
	if int64(max(d.BatchSize, d.MaxRequestSize)) > d.BufferMemory {
		report("Producer.BufferMemory: %d bytes do not hold one batch (BatchSize %d) or record (MaxRequestSize %d)", d.BufferMemory, d.BatchSize, d.MaxRequestSize)
	}
	if d.RetryBackoffMax < d.RetryBackoff {
		report("Producer.RetryBackoffMax: %v is less than RetryBackoff (%v)", d.RetryBackoffMax, d.RetryBackoff)
	}
	if c.TransactionTimeout > 0 && c.TransactionTimeout < 3*commitInterval {
		report("Producer.TransactionTimeout: %v is less than three times CommitInterval (%v); slow commits would be aborted", c.TransactionTimeout, commitInterval)
	}
	return bad
}

// unfitForPipelines reports what would break the guarantees of a pipeline.
func (c ProducerConfig) unfitForPipelines() (bad []error) {
	if c.Acks != AcksAll {
		bad = append(bad, fmt.Errorf("Producer.Acks: a pipeline needs AcksAll; acks=%v would lose records", c.Acks))
	}
	if c.Idempotence == IdempotenceOff {
		bad = append(bad, fmt.Errorf("Producer.Idempotence: a pipeline needs it; without it, retries double records"))
	}
	if c.MaxBlock == NoWait {
		bad = append(bad, fmt.Errorf("Producer.MaxBlock: NoWait is for a Producer; a pipeline waits for room"))
	}
	return bad
}

// sending is the machine's configuration but for whom it connects to. All fields are
// set.
func (c ProducerConfig) sending() send.Config {
	level := send.DefaultLevel
	if c.CompressionLevel != 0 {
		level = c.CompressionLevel
	}
	return send.Config{
		Acks: c.Acks.required(), Idempotent: c.Idempotence == IdempotenceOn, TransactionTimeout: c.TransactionTimeout,
		Compression: c.Compression.codec(), CompressionLevel: level,
		BatchSize: c.BatchSize, Linger: c.Linger, LingerMax: c.LingerMax, BufferMemory: c.BufferMemory, MaxBlock: max(0, c.MaxBlock),
		MaxRequestSize: c.MaxRequestSize, MaxInFlight: c.MaxInFlight,
		RequestTimeout: c.RequestTimeout, DeliveryTimeout: c.DeliveryTimeout,
		RetryBackoff: c.RetryBackoff, RetryBackoffMax: c.RetryBackoffMax, DialTimeout: 5 * time.Second, MetadataMaxAge: c.MetadataMaxAge,
	}
}
