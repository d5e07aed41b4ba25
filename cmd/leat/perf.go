package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/send"
)

func runPerf(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 || args[0] != "produce" {
		fmt.Fprintln(stderr, "usage: leat perf produce --brokers A,B --topic TOPIC [flags] (see leat perf produce --help)")
		return errUsage
	}
	o, err := parsePerf(args[1:], stderr)
	if err != nil {
		return err
	}
	return o.run(ctx, stdout)
}

// perfOptions are the flags of leat perf produce, in the manner of
// kafka-producer-perf-test. The clock runs from the first call of a client to the last
// acknowledgement; CPU time is the whole process's; allocations are counted while records are
// produced, the caller's own included.
type perfOptions struct {
	topic       string
	records     int64
	size, key   int
	throughput  int64         // records a second, 0 for as many as go
	burst       int64         // of that many at once
	interval    time.Duration // of transactions
	transaction bool
	at          cluster.Config
	cfg         send.Config
}

func parsePerf(args []string, stderr io.Writer) (*perfOptions, error) {
	o := &perfOptions{cfg: send.Config{
		Idempotent: true, TransactionTimeout: time.Minute, CompressionLevel: send.DefaultLevel,
		BufferMemory: 32 << 20, MaxBlock: time.Minute, MaxRequestSize: 1 << 20, MaxInFlight: 5,
		RequestTimeout: 30 * time.Second, DeliveryTimeout: 2 * time.Minute, RetryBackoff: 100 * time.Millisecond,
		RetryBackoffMax: time.Second, DialTimeout: 5 * time.Second, MetadataMaxAge: 5 * time.Minute,
		Logger: slog.New(slog.NewTextHandler(stderr, nil)),
	}}
	fs := flag.NewFlagSet("leat perf produce", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var conn connection
	conn.flags(fs)
	fs.StringVar(&o.topic, "topic", "", "`topic` to write to, which must exist (required)")
	fs.Int64Var(&o.records, "records", 1_000_000, "number of records")
	fs.IntVar(&o.size, "size", 200, "bytes of a value: the record's number, then half random, half repeating text")
	fs.IntVar(&o.key, "key-size", 16, "bytes of a key: the record's number in hex; 0 for none")
	acks := fs.String("acks", "all", "all, 1 or 0; all but all turns idempotence off")
	compression := fs.String("compression", "lz4", "none, lz4, snappy, gzip or zstd")
	fs.DurationVar(&o.cfg.Linger, "linger", 5*time.Millisecond, "Kafka's linger.ms")
	fs.DurationVar(&o.cfg.LingerMax, "linger-max", 0, "makes linger adaptive, between --linger and this")
	fs.Int64Var(&o.throughput, "throughput", 0, "records a second at most; 0 for as many as go")
	fs.Int64Var(&o.burst, "burst", 1, "records sent at once, with --throughput")
	fs.IntVar(&o.cfg.BatchSize, "batch-size", 128<<10, "Kafka's batch.size, in bytes")
	fs.Int64Var(&o.cfg.BufferMemory, "buffer-memory", 32<<20, "Kafka's buffer.memory, in bytes")
	fs.BoolVar(&o.transaction, "transactional", false, "send in transactions")
	fs.DurationVar(&o.interval, "transaction-duration", 100*time.Millisecond, "length of a transaction")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprintln(stderr, "usage: leat perf produce --brokers A,B --topic TOPIC [flags]")
			fs.PrintDefaults()
			return nil, errUsage
		}
		return nil, usage(stderr, "perf produce", "%v", err)
	}
	switch {
	case fs.NArg() > 0:
		return nil, usage(stderr, "perf produce", "unexpected argument %q", fs.Arg(0))
	case conn.brokers == "" || o.topic == "":
		return nil, usage(stderr, "perf produce", "--brokers and --topic are required")
	case o.throughput < 0 || o.burst < 1:
		return nil, usage(stderr, "perf produce", "--throughput must not be negative, --burst must be positive")
	case o.records < 1 || o.size < 8 || o.key < 0:
		return nil, usage(stderr, "perf produce", "--records must be positive, --size at least 8, --key-size not negative")
	}
	codecs := map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "lz4": sarama.CompressionLZ4, "snappy": sarama.CompressionSnappy,
		"gzip": sarama.CompressionGZIP, "zstd": sarama.CompressionZSTD,
	}
	codec, ok := codecs[*compression]
	if !ok {
		return nil, usage(stderr, "perf produce", "--compression %q is not known", *compression)
	}
	o.cfg.Compression = codec
	switch *acks {
	case "all", "-1":
		o.cfg.Acks = sarama.WaitForAll
	case "1", "0":
		n, _ := strconv.Atoi(*acks)
		o.cfg.Acks, o.cfg.Idempotent, o.cfg.MaxInFlight = sarama.RequiredAcks(n), false, 1
	default:
		return nil, usage(stderr, "perf produce", "--acks is all, 1 or 0, not %q", *acks)
	}
	at, err := conn.config("leat-perf")
	if err != nil {
		return nil, usage(stderr, "perf produce", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	o.at = at
	o.cfg.Brokers, o.cfg.Connection, o.cfg.SASL = at.Brokers, at.Sarama(), at.SASL
	if o.transaction {
		o.cfg.TransactionalID = "leat-perf-" + rand.Text()
	}
	if err := o.cfg.Validate(); err != nil {
		return nil, usage(stderr, "perf produce", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return o, nil
}

func (o *perfOptions) run(ctx context.Context, stdout io.Writer) error {
	l := newLoad(o)
	began := time.Now()
	open, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client, err := cluster.Open(open, o.at)
	if err != nil {
		return err
	}
	_, err = client.Partitions(open, []string{o.topic})
	if cerr := client.Close(); err != nil || cerr != nil {
		return errors.Join(err, cerr)
	}
	p, err := send.New(open, o.cfg)
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err = l.produce(ctx, p)
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	closing, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	err = errors.Join(err, p.Close(closing, 0))

	n := l.latency.Count()
	at := func(q float64) float64 { return float64(l.latency.Quantile(q).Microseconds()) / 1000 }
	per := float64(max(1, n))
	bytes := float64(n) * float64(o.size+o.key)
	u, st := processUsage(), p.Stats()
	fmt.Fprintf(stdout, "records=%d seconds=%.3f records_per_s=%.0f mb_per_s=%.2f latency_ms_p50=%.1f p95=%.1f p99=%.1f p999=%.1f max=%.1f cpu_us_per_record=%.3f allocs_per_record=%.3f peak_rss_mib=%.1f records_per_request=%.1f batch_size=%.0f linger_ms=%.2f\n",
		n, took.Seconds(), float64(n)/took.Seconds(), bytes/1e6/took.Seconds(),
		at(0.50), at(0.95), at(0.99), at(0.999), at(1),
		float64(u.cpu.Microseconds())/per, float64(after.Mallocs-before.Mallocs)/per, u.peakMiB,
		float64(st.RecordsSent)/float64(max(1, st.Requests)), float64(st.BatchBytes)/float64(max(1, st.Batches)), st.Linger.Seconds()*1000)
	if failed := l.failed(); failed != nil {
		err = errors.Join(fmt.Errorf("not all records were written: %w", failed), err)
	}
	return err
}
