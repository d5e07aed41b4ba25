package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

// doctorOptions are the flags of leat doctor.
type doctorOptions struct {
	settings     doctor.Settings
	json, strict bool
	timeout      time.Duration
}

func runDoctor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseDoctor(args, stderr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	report, failed := doctor.Check(ctx, o.settings)
	if report == nil {
		return failed
	}
	wrong := report.Wrong()
	unseen := 0
	for _, f := range report.Findings {
		if f.Verdict == doctor.NotVisible {
			unseen++
		}
	}
	sound := failed == nil && len(wrong) == 0 && (unseen == 0 || !o.strict)
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(struct {
			Sound bool `json:"sound"`
			*doctor.Report
		}{sound, report})
	} else {
		err = report.WriteTable(stdout)
	}
	switch {
	case err != nil:
	case failed != nil:
		err = failed
	case !sound:
		err = fmt.Errorf("%d wrong, %d not visible", len(wrong), unseen)
	}
	return err
}

// byTopic is the value of a flag that is given once for each topic.
func byTopic(f func(topic, value string) error) func(string) error {
	return func(s string) error {
		topic, value, ok := strings.Cut(s, "=")
		if !ok || topic == "" || value == "" {
			return errors.New("want topic=value")
		}
		return f(topic, value)
	}
}

// presets are those of sinks/kafka, by name.
var presets = map[string]kafka.ProducerConfig{
	"default": {}, "throughput": kafka.Throughput(), "low-latency": kafka.LowLatency(), "durable": kafka.Durable(),
}

func parseDoctor(args []string, stderr io.Writer) (*doctorOptions, error) {
	o := &doctorOptions{settings: doctor.Settings{Schemas: map[string]registry.Schema{}}}
	s := &o.settings
	c := &s.Config
	list := func(to *[]string) func(string) error {
		return func(v string) error {
			*to = append(*to, strings.Split(v, ",")...)
			return nil
		}
	}
	var acks, compression string
	var batch, request int
	var registries []string
	fs := flag.NewFlagSet("leat doctor", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var conn connection
	conn.flags(fs)
	fs.Func("output", "`topics` that are written to, comma separated", list(&s.Outputs))
	fs.Func("dead-letter", "`topics` that dead letters are written to", list(&s.DeadLetters))
	fs.Func("input", "`topics` that the group reads", list(&s.Inputs))
	fs.Func("retry", "`topic=delay` of a retry topic, which is an input and an output, too; may be repeated", byTopic(func(topic, delay string) error {
		d, err := time.ParseDuration(delay)
		s.Retries = append(s.Retries, pipeline.RetryTier{Topic: topic, Delay: d})
		s.Inputs, s.Outputs = append(s.Inputs, topic), append(s.Outputs, topic)
		return err
	}))
	fs.Func("table", "`topics` that are read whole", list(&s.Tables))
	fs.StringVar(&c.Group, "group", "", "consumer `group` of the pipeline, by default its name; without it, a producer alone is meant")
	fs.StringVar(&c.Instance, "instance", "", "`name` of the worker, if it has one")
	fs.StringVar(&c.Application, "application", "", "first part of the pipeline's transactional ids (default leat)")
	assignment := fs.String("assignment", "cooperative-sticky", "cooperative-sticky, range or roundrobin")
	delivery := fs.String("delivery", "exactly-once", "exactly-once or at-least-once, for a group")
	fs.StringVar(&s.TransactionalID, "transactional-id", "", "`id` of a producer without a pipeline")
	preset := fs.String("preset", "default", "what the producer is configured with: default, throughput, low-latency or durable; the producer's other flags change it")
	fs.StringVar(&acks, "acks", "", "all, 1 or 0")
	fs.StringVar(&compression, "compression", "", "none, lz4, snappy, gzip or zstd")
	fs.IntVar(&batch, "batch-size", 0, "BatchSize, in `bytes`")
	fs.IntVar(&request, "max-request-size", 0, "MaxRequestSize, in `bytes`")
	timeout := fs.Duration("transaction-timeout", 0, "TransactionTimeout")
	fs.Func("registry", "`URLs` of the schema registry, comma separated", list(&registries))
	fs.Func("schema", "`topic=file` with the schema of the topic's values: .json and .proto as their names say, else Avro; may be repeated", byTopic(func(topic, file string) error {
		text, err := os.ReadFile(file)
		language, known := map[string]registry.Type{".json": registry.JSON, ".proto": registry.Protobuf}[filepath.Ext(file)]
		if !known {
			language = registry.Avro
		}
		s.Schemas[topic] = registry.Schema{Type: language, Text: string(text)}
		return err
	}))
	fs.Func("accept", "`checks` that are known to fail and to be lived with, comma separated: as in replication or compression:orders", list(&s.Accept))
	fs.BoolVar(&o.strict, "strict", false, "fail on what is not visible, too")
	fs.BoolVar(&o.json, "json", false, "write JSON, what is fine included")
	fs.DurationVar(&o.timeout, "timeout", time.Minute, "bound on all checks together")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprintln(stderr, "usage: leat doctor --brokers A,B --output TOPIC [--input TOPIC --group GROUP] [flags]")
			fs.PrintDefaults()
			return nil, errUsage
		}
		return nil, usage(stderr, "doctor", "%v", err)
	}
	bad := func(format string, args ...any) (*doctorOptions, error) {
		return nil, usage(stderr, "doctor", format, args...)
	}
	if fs.NArg() > 0 {
		return bad("unexpected argument %q", fs.Arg(0))
	}
	at, err := conn.config("leat-doctor")
	if err != nil {
		return bad("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	s.Outputs = append(s.Outputs, s.DeadLetters...)
	c.Brokers, c.ClientID, c.TLS, c.SASL = at.Brokers, at.ClientID, at.TLS, at.SASL
	var known bool
	if c.Producer, known = presets[*preset]; !known {
		return bad("--preset %q is not known", *preset)
	}
	if acks != "" {
		if c.Producer.Acks, known = map[string]kafka.Acks{"all": kafka.AcksAll, "-1": kafka.AcksAll, "1": kafka.AcksLeader, "0": kafka.AcksNone}[acks]; !known {
			return bad("--acks is all, 1 or 0, not %q", acks)
		}
		c.Producer.Idempotence, c.Producer.MaxInFlight = kafka.IdempotenceDefault, 0 // as goes with them
	}
	if compression != "" {
		found := false
		for _, codec := range []kafka.Compression{kafka.NoCompression, kafka.LZ4, kafka.Snappy, kafka.Gzip, kafka.Zstd} {
			if codec.String() == compression {
				c.Producer.Compression, found = codec, true
			}
		}
		if !found {
			return bad("--compression %q is not known", compression)
		}
	}
	if c.Assignment, known = map[string]kafka.Assignment{
		"cooperative-sticky": kafka.CooperativeSticky, "range": kafka.Range, "roundrobin": kafka.RoundRobin,
	}[*assignment]; !known {
		return bad("--assignment %q is not known", *assignment)
	}
	if c.Delivery, known = map[string]pipeline.Guarantee{"exactly-once": pipeline.ExactlyOnce, "at-least-once": pipeline.AtLeastOnce}[*delivery]; !known {
		return bad("--delivery is exactly-once or at-least-once, not %q", *delivery)
	}
	if batch != 0 {
		c.Producer.BatchSize = batch
	}
	if request != 0 {
		c.Producer.MaxRequestSize = request
	}
	if *timeout != 0 {
		c.Producer.TransactionTimeout = *timeout
	}
	if o.timeout <= 0 {
		return bad("--timeout must be positive, not %v", o.timeout)
	}
	if len(registries) > 0 {
		client, err := registry.New(registry.Config{URLs: registries})
		if err != nil {
			return bad("--registry: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		s.Registry = client
	}
	if err = s.Validate(); err != nil {
		return bad("%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return o, nil
}
