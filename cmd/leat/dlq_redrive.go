package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

const dlqRedriveNote = `Sends letters back to the topics that they come from, each exactly once, as they were:
key, value, headers and timestamp, and the header leat.redriven, which counts. Without
-execute it says what it would do, and changes nothing.`

// redriveOptions are the flags of leat dlq redrive.
type redriveOptions struct {
	dlqOptions
	to            string
	samePartition bool
	maxRedrives   int
	execute, json bool
	command       string // that does what is shown
}

// redriveReport is what was, or would be, redriven, as JSON.
type redriveReport struct {
	Topic    string `json:"topic"`
	Executed bool   `json:"executed"`
	Letters  int64  `json:"letters"`
	TooOften int64  `json:"tooOften"` // left out for -max-redrives
	letterCounts
	Groups  []*letterGroup `json:"groups"`
	Command string         `json:"command,omitempty"` // that does it
}

func runDLQRedrive(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseRedrive(args, stderr)
	if err != nil {
		return err
	}
	d, err := openDeadLetters(ctx, &o.dlqOptions)
	if err != nil {
		return err
	}
	defer d.close()
	r := &redrive{o: o, d: d}
	if o.execute {
		err = r.run(ctx, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	} else {
		err = r.plan(ctx)
	}
	switch {
	case err == nil:
		return r.print(stdout)
	case !o.execute || r.done.count() == 0:
		return inOneLine(err)
	}
	return inOneLine(errors.Join(fmt.Errorf("%w; what was redriven before stays so", err), r.print(stdout)))
}

func inOneLine(err error) error { return errors.New(strings.ReplaceAll(err.Error(), "\n", "; ")) }

// redrive is one run of the command.
type redrive struct {
	o        *redriveOptions
	d        *deadLetters
	producer *kafka.Producer
	batch    []sending // of one partition, in order
	bytes    int
	done     letterGroups // committed, or what would be
	tooOften int64
}

// sending is a letter that is about to be redriven. Of what was fetched it keeps its
// names alone.
type sending struct {
	letter *letter
	record kafka.Record
}

// A transaction takes as many letters, or one that is larger than that.
const (
	maxBatch      = 500
	maxBatchBytes = 4 << 20
)

// The producer takes every letter that the brokers have taken: what a topic's
// max.message.bytes is, is theirs to say.
const (
	redriveRecordSize = 64 << 20
	redriveMemory     = 2 * redriveRecordSize
)

// plan finds out what run would do.
func (r *redrive) plan(ctx context.Context) error {
	ends, err := r.d.ends(ctx)
	if err != nil {
		return err
	}
	return r.d.each(ctx, ends, func(l *letter) error {
		if r.meant(l) {
			r.done.add(l, r.target(l))
		}
		return nil
	})
}

// run redrives. The order matters: the producer's start ends what an earlier run has left
// open and shuts it out; only then do the markers say all that was redriven.
func (r *redrive) run(ctx context.Context, log *slog.Logger) (err error) {
	if err := r.d.mayBeMarked(ctx); err != nil {
		return err
	}
	c := r.o.cluster
	r.producer, err = kafka.NewProducer(ctx, kafka.ProducerSettings{
		Brokers: c.Brokers, ClientID: c.ClientID, TLS: c.TLS, SASL: c.SASL, Logger: log,
		TransactionalID: "leat.redrive." + r.o.topic,
		Producer:        kafka.ProducerConfig{MaxRequestSize: redriveRecordSize, BufferMemory: redriveMemory},
	})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := r.producer.Close(ctx); err == nil {
			err = cerr
		}
	}()
	ends, err := r.begin(ctx)
	if err != nil {
		return err
	}
	if err := r.d.settle(ctx, ends, settleWithin); err != nil {
		return err
	}
	err = r.d.each(ctx, ends, func(l *letter) error { return r.take(ctx, l) })
	if err == nil {
		err = r.send(ctx)
	}
	if ctx.Err() != nil && !errors.Is(err, kafka.ErrUnknownOutcome) {
		return errors.New("interrupted; run this again for the rest")
	}
	return err
}

// begin writes a marker of nothing into each partition and returns where they stand: all that
// others have marked is before that. To ask where the partitions end is not enough, since a
// leader that is cut off from the others answers with what it knew.
func (r *redrive) begin(ctx context.Context) (map[pipeline.Partition]int64, error) {
	parts := r.d.parts()
	markers := make([]kafka.Record, len(parts))
	for i, part := range parts {
		markers[i] = marker(part, r.d.topicID, nil)
	}
	ends := map[pipeline.Partition]int64{}
	err := r.producer.InTransaction(ctx, func(tx *kafka.Transaction) error {
		sent, err := tx.SendMany(ctx, markers)
		if err == nil {
			for i, o := range sent {
				ends[parts[i]] = o.Offset + 1
			}
		}
		return err
	})
	switch {
	case errors.Is(err, kafka.ErrFenced):
		return nil, r.shutOut()
	case err != nil:
		return nil, fmt.Errorf("topic %q takes no markers: %w", r.o.topic, err)
	}
	return ends, nil
}

func (r *redrive) shutOut() error {
	return fmt.Errorf("another redrive of topic %q has begun and has ended this one; run this again when that one is done", r.o.topic)
}

// mayBeMarked refuses a topic that would lose its markers.
func (d *deadLetters) mayBeMarked(ctx context.Context) error {
	all, err := d.client.TopicSettings(ctx, []string{d.o.topic})
	if err != nil {
		return err
	}
	settings := all[d.o.topic]
	switch policy := settings.Values["cleanup.policy"]; {
	case settings.Err != nil:
		err := secure.Denied(settings.Err, secure.DescribeConfigs, secure.Topic, d.o.topic)
		return fmt.Errorf("topic %q: its cleanup.policy cannot be seen, on which it depends whether markers stay: %w", d.o.topic, err)
	case strings.Contains(policy, "compact"):
		return fmt.Errorf("topic %q has cleanup.policy=%s: compaction removes the markers, which have no keys, that say what was redriven, and the letters would be redriven again; set cleanup.policy=delete", d.o.topic, policy)
	}
	return nil
}

// meant leaves out what was redriven too often.
func (r *redrive) meant(l *letter) bool {
	if r.o.maxRedrives > 0 && l.redriven >= r.o.maxRedrives {
		r.tooOften++
		return false
	}
	return true
}

func (r *redrive) target(l *letter) string {
	if r.o.to != "" {
		return r.o.to
	}
	return l.origin.Topic
}

// take redrives a letter with those after it. A transaction is of one partition, so that
// it has one marker.
func (r *redrive) take(ctx context.Context, l *letter) error {
	if !r.meant(l) {
		return nil
	}
	if len(r.batch) > 0 && r.batch[0].letter.part != l.part {
		if err := r.send(ctx); err != nil {
			return err
		}
	}
	s := sending{l, l.original()}
	s.record.Topic = r.target(l)
	if s.record.Topic == r.o.topic {
		return fmt.Errorf("%v, offset %d: its record comes from the dead-letter topic itself; name another with -to", l.part, l.offset)
	}
	if r.o.samePartition {
		s.record.Partitioner = kafka.ToPartition(l.origin.Partition)
	}
	r.bytes += size(s.record)
	l.Record, l.headers = nil, nil
	r.batch = append(r.batch, s)
	if len(r.batch) < maxBatch && r.bytes < maxBatchBytes {
		return nil
	}
	return r.send(ctx)
}

func size(r kafka.Record) int {
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

// send redrives what was taken, with the marker that says so: both or neither.
func (r *redrive) send(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	part := r.batch[0].letter.part
	var sent offsets
	err := r.producer.InTransaction(ctx, func(tx *kafka.Transaction) error {
		for _, s := range r.batch {
			if err := tx.Send(ctx, s.record, nil); err != nil {
				return fmt.Errorf("%v, offset %d: %w", part, s.letter.offset, err)
			}
			sent = sent.add(s.letter.offset)
		}
		return tx.Send(ctx, marker(part, r.d.topicID, sent), nil)
	})
	switch {
	case errors.Is(err, kafka.ErrFenced):
		return r.shutOut()
	case errors.Is(err, kafka.ErrUnknownOutcome):
		return fmt.Errorf("nobody has answered whether the letters %v of %v were redriven; run this again, which finds out: %w", sent, part, err)
	case err != nil:
		return fmt.Errorf("the letters %v of %v were not redriven: %w", sent, part, err)
	}
	for _, s := range r.batch {
		r.done.add(s.letter, s.record.Topic)
	}
	clear(r.batch)
	r.batch, r.bytes = r.batch[:0], 0
	return nil
}

func (r *redrive) print(stdout io.Writer) error {
	if r.o.json {
		out := redriveReport{r.o.topic, r.o.execute, r.done.count(), r.tooOften, r.d.seen, r.done.sorted(), r.o.command}
		if r.o.execute {
			out.Command = ""
		}
		return writeJSON(stdout, out)
	}
	verb := "would redrive"
	if r.o.execute {
		verb = "redriven:"
	}
	fmt.Fprintf(stdout, "%s: %s %d of %d open letters; %d redriven before, %d foreign", r.o.topic, verb, r.done.count(), r.d.seen.Open, r.d.seen.Redriven, r.d.seen.Foreign)
	if r.o.maxRedrives > 0 {
		fmt.Fprintf(stdout, ", %d redriven %d times already", r.tooOften, r.o.maxRedrives)
	}
	fmt.Fprintln(stdout)
	if r.done.count() == 0 {
		return nil
	}
	if err := r.done.print(stdout); err != nil || r.o.execute {
		return err
	}
	_, err := fmt.Fprintf(stdout, "\nNothing was changed. To do it:\n  %s\n", r.o.command)
	return err
}

func parseRedrive(args []string, stderr io.Writer) (*redriveOptions, error) {
	o := &redriveOptions{}
	fs := flag.NewFlagSet("leat dlq redrive", flag.ContinueOnError)
	fs.StringVar(&o.to, "to", "", "send to this `topic` (default: to where each letter comes from)")
	fs.BoolVar(&o.samePartition, "same-partition", false, "send to the partition that the record was in (default: by its key, as Kafka's own producers do)")
	fs.IntVar(&o.maxRedrives, "max-redrives", 0, "leave out letters that were redriven `n` times already (default: none)")
	fs.BoolVar(&o.execute, "execute", false, "do it")
	fs.BoolVar(&o.json, "json", false, "write JSON")
	if err := o.parse(fs, dlqRedriveNote, args, stderr); err != nil {
		return nil, err
	}
	switch {
	case o.maxRedrives < 0:
		return nil, usage(stderr, "dlq redrive", "--max-redrives: %d is negative", o.maxRedrives)
	case o.to == o.topic:
		return nil, usage(stderr, "dlq redrive", "--to is the dead-letter topic itself")
	}
	o.command = executing(fs)
	return o, nil
}

// executing is the command line that does what this one shows: a time that was given as
// how long ago is the same time in it.
func executing(fs *flag.FlagSet) string {
	line := fs.Name()
	fs.Visit(func(f *flag.Flag) {
		if f.Name != "execute" && f.Name != "json" {
			line += " -" + f.Name + "=" + quoted(f.Value.String())
		}
	})
	return line + " -execute"
}

// quoted is a word as shells take it.
func quoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
