package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/send"
	"github.com/leat-stream/leat/pipeline"
)

// ProducerSettings configure a [Producer]. Brokers is required; every other field's
// zero value means its default.
type ProducerSettings struct {
	// Brokers are the bootstrap addresses, host:port. Kafka: bootstrap.servers.
	Brokers []string
	// ClientID is Kafka's client.id. Default: leat.
	ClientID string
	// TLS, if not nil, encrypts every connection; [TLSFiles] makes the usual one. It must
	// verify the broker and be of version 1.2 or later. Kafka: security.protocol, ssl.*.
	TLS *tls.Config
	// AllowInsecureTLS permits TLS below version 1.2, or without a check of the
	// broker's certificate: whoever is between can read and change everything.
	AllowInsecureTLS bool
	// SASL, if its mechanism is not empty, authenticates every connection.
	SASL SASL

	// Topics are looked for at the start: one that does not exist is an error, and one
	// whose compression.type has the broker compress batches again is logged, with the
	// change. Others may be written, too. Default: none.
	Topics []string
	// Producer is what a pipeline's producer is configured with, too.
	Producer ProducerConfig
	// TransactionalID makes the producer one for [Producer.InTransaction]. It needs
	// AcksAll and idempotence. No two producers may use it at the same time; a
	// restarted one should have that of its predecessor, whose open transaction it
	// then ends at once. Kafka: transactional.id. Default: none.
	TransactionalID string

	// Partitioner chooses the partition of records that have none of their own.
	// Kafka: partitioner.class. Default: HashKey, and Sticky for null keys.
	Partitioner pipeline.Partitioner
	// Interceptors see every record, in this order. Kafka: interceptor.classes.
	Interceptors []Interceptor
	// MaxPending bounds the records whose outcome is not settled or whose callback
	// has not been called; a send waits for room. It bounds the memory behind
	// callbacks, some 200 bytes a record, and is the limiter of records in flight:
	// set it low to have a slow cluster slow the callers down early. librdkafka:
	// queue.buffering.max.messages. Default: 262,144.
	MaxPending int
	// MaxHeaders and MaxHeaderBytes bound a record's headers, their number and the
	// bytes of their keys and values. Default: MaxRequestSize alone bounds them.
	MaxHeaders, MaxHeaderBytes int

	// DeadLetter, if not nil, is given records that were taken and not written, with
	// the reason, before their callbacks, on the same goroutine and under the same
	// rules (see Callback). It may keep the record. It makes the producer keep a copy
	// of every record until its outcome: at most BufferMemory once more, and some
	// allocations a record. A record that it sends itself and that is not written
	// comes back to it: look at the topic. It does not go with TransactionalID, where
	// a record that fails fails all.
	DeadLetter func(Record, *DeliveryError)
	// OnBufferLow, if not nil, is called when less than 20 % of BufferMemory is
	// available, and not again before 40 % are; it runs as callbacks do. The values
	// are bytes, as of the call.
	OnBufferLow func(available, total int64)
	// Logger is where failures of interceptors and connections are logged, never
	// records. Default: slog.Default().
	Logger *slog.Logger
}

const (
	defaultMaxPending                 = 1 << 18
	defaultProducerTransactionTimeout = time.Minute
)

// Validate reports every mistake at once.
func (s ProducerSettings) Validate() error {
	bad := s.cluster().Mistakes()
	bad = append(bad, s.Producer.mistakes(0)...)
	if s.TransactionalID != "" && s.Producer.Acks != AcksAll {
		bad = append(bad, fmt.Errorf("TransactionalID needs Producer.Acks AcksAll, not acks=%v", s.Producer.Acks))
	}
	if s.TransactionalID != "" && s.Producer.Idempotence == IdempotenceOff {
		bad = append(bad, errors.New("TransactionalID needs Producer.Idempotence"))
	}
	if s.TransactionalID != "" && s.DeadLetter != nil {
		bad = append(bad, errors.New("DeadLetter does not go with TransactionalID: a record that fails fails the transaction"))
	}
	if s.MaxPending < 0 || s.MaxHeaders < 0 || s.MaxHeaderBytes < 0 {
		bad = append(bad, errors.New("MaxPending, MaxHeaders and MaxHeaderBytes must not be negative"))
	}
	bad = append(bad, missingInterceptors(s.Interceptors)...)
	if err := errors.Join(bad...); err != nil {
		return fmt.Errorf("%w: kafka.ProducerSettings:\n%w", pipeline.ErrInvalid, err)
	}
	return nil
}

func (s ProducerSettings) withDefaults() ProducerSettings {
	orDefault(&s.Producer.TransactionTimeout, defaultProducerTransactionTimeout)
	orDefault(&s.Producer.MaxBlock, defaultMaxBlock)
	s.Producer = s.Producer.withDefaults(0)
	orDefault(&s.MaxPending, defaultMaxPending)
	s.Logger = cmp.Or(s.Logger, slog.Default())
	return s
}

// sending is the machine's configuration. The settings have their defaults.
func (s ProducerSettings) sending() send.Config {
	c := s.Producer.sending()
	c.Brokers, c.Connection, c.SASL, c.Logger = s.Brokers, s.cluster().Sarama(), s.SASL, s.Logger
	c.TransactionalID = s.TransactionalID
	return c
}

// checkTopics looks at Topics.
func (s ProducerSettings) checkTopics(ctx context.Context, client *cluster.Client) error {
	if len(s.Topics) == 0 {
		return nil
	}
	if _, err := client.Partitions(ctx, s.Topics); err != nil {
		return err
	}
	warnOfRecompression(ctx, client, s.Topics, s.Producer.Compression, s.Logger)
	return nil
}

func (s ProducerSettings) cluster() cluster.Config {
	return Config{Brokers: s.Brokers, ClientID: s.ClientID, TLS: s.TLS, AllowInsecureTLS: s.AllowInsecureTLS, SASL: s.SASL}.cluster()
}
