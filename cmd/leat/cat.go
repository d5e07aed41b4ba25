package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// catOptions are the flags of leat cat.
type catOptions struct {
	topics      []string
	partitions  []int32
	from        catStart
	limit       int64
	follow      bool
	allowErrors bool
	isolation   sarama.IsolationLevel
	key, value  string // formats
	cluster     cluster.Config
	registry    *registryFlags
}

// catStart is where each partition is read from: an offset, or what at says.
type catStart struct {
	offset int64 // -1: see at
	at     int64 // a time in ms, cluster.Earliest or cluster.Latest
}

const catBuffer = 64 << 10

func runCat(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseCat(args, stderr)
	if err != nil {
		return err
	}
	view, err := newView(o.key, o.value, o.registry.client)
	if err != nil {
		return err
	}
	client, err := cluster.Open(ctx, o.cluster)
	if err != nil {
		return stopped(ctx, err)
	}
	defer func() { _ = client.Close() }()
	c := &cat{o: o, view: view, client: client, stderr: stderr, out: bufio.NewWriterSize(stdout, catBuffer)}
	c.enc = json.NewEncoder(c.out)
	c.enc.SetEscapeHTML(false)
	err = stopped(ctx, c.run(ctx))
	if ferr := c.out.Flush(); err == nil {
		err = ferr
	}
	if err == nil && c.undecoded > 0 && !o.allowErrors {
		err = fmt.Errorf("%d records could not be decoded; they are printed as bytes, with an error", c.undecoded)
	}
	return err
}

// stopped takes an error away that comes of SIGINT or SIGTERM.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// cat is one run of leat cat.
type cat struct {
	o         *catOptions
	view      *view
	client    *cluster.Client
	stderr    io.Writer
	out       *bufio.Writer
	enc       *json.Encoder
	printed   int64
	undecoded int64
}

func (c *cat) run(ctx context.Context) error {
	parts, err := c.parts(ctx)
	if err != nil {
		return err
	}
	ends, from := map[pipeline.Partition]int64{}, map[pipeline.Partition]int64{}
	for _, part := range parts {
		begin, end, err := c.span(ctx, part)
		if err != nil {
			return err
		}
		if c.o.follow {
			end = math.MaxInt64
		}
		if begin < end {
			from[part], ends[part] = begin, end
		}
	}
	return readTo(ctx, c.client.Reader(from, c.o.isolation), ends, func(read cluster.Read) (bool, error) {
		done, err := c.print(ctx, read, ends[read.Partition])
		if ferr := c.out.Flush(); err == nil {
			err = ferr
		}
		return done, err
	})
}

// parts are the partitions to read, in order.
func (c *cat) parts(ctx context.Context) (out []pipeline.Partition, err error) {
	counts, err := c.client.Partitions(ctx, c.o.topics)
	if err != nil {
		return nil, err
	}
	for _, topic := range slices.Sorted(maps.Keys(counts)) {
		wanted := c.o.partitions
		if len(wanted) == 0 {
			for p := range counts[topic] {
				wanted = append(wanted, p)
			}
		}
		for _, p := range wanted {
			if p >= counts[topic] {
				return nil, fmt.Errorf("topic %q has %d partitions, not one of number %d", topic, counts[topic], p)
			}
			out = append(out, pipeline.Partition{Topic: topic, Partition: p})
		}
	}
	return out, nil
}

// span is what there is to read of a partition as of now.
func (c *cat) span(ctx context.Context, part pipeline.Partition) (begin, end int64, err error) {
	if end, err = c.client.OffsetFor(ctx, part, cluster.Latest, c.o.isolation); err != nil {
		return 0, 0, err
	}
	if c.o.from.offset < 0 {
		begin, err = c.client.OffsetFor(ctx, part, c.o.from.at, c.o.isolation)
		return min(begin, end), end, err
	}
	first, err := c.client.OffsetFor(ctx, part, cluster.Earliest, c.o.isolation)
	begin = c.o.from.offset
	switch {
	case err != nil:
	case begin < first:
		fmt.Fprintf(c.stderr, "leat cat: %v: offset %d is no longer in the log; it begins at %d\n", part, begin, first)
		begin = first
	case begin > end:
		fmt.Fprintf(c.stderr, "leat cat: %v: offset %d is not in the log yet; it ends at %d\n", part, begin, end)
		begin = end
	}
	return begin, end, err
}

// print writes the records of one fetch, up to the end, and reports whether that was
// enough.
func (c *cat) print(ctx context.Context, read cluster.Read, end int64) (done bool, err error) {
	for r := range recordsOf(read, end) {
		if c.o.limit > 0 && c.printed == c.o.limit {
			return true, nil
		}
		l, err := c.view.line(ctx, r)
		if err != nil {
			return false, fmt.Errorf("%v, offset %d: %w", r.part, r.offset, err)
		}
		if err := c.enc.Encode(l); err != nil {
			return false, fmt.Errorf("write: %w", err)
		}
		c.printed++
		if l.Error != "" {
			c.undecoded++
		}
	}
	return c.o.limit > 0 && c.printed == c.o.limit, nil
}

const catUsage = `usage: leat cat --brokers A,B --topic TOPIC [--registry URL] [flags]

Prints committed records as JSON, one in a line. Joins no group, commits nothing.
Keys and values that name a schema which the registry has are decoded by it; others
are printed as text or, if they are not text, in base64.

`

func parseCat(args []string, stderr io.Writer) (*catOptions, error) {
	o := &catOptions{from: catStart{offset: -1, at: cluster.Earliest}, isolation: sarama.ReadCommitted, registry: &registryFlags{}}
	fs := flag.NewFlagSet("leat cat", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var conn connection
	conn.flags(fs)
	fs.Func("topic", "`topics` to read, comma separated; may be repeated (required)", func(s string) error {
		for t := range strings.SplitSeq(s, ",") {
			if t == "" {
				return errors.New("an empty name")
			}
			o.topics = append(o.topics, t)
		}
		return nil
	})
	fs.Func("partition", "`numbers` of the partitions to read, comma separated (default: all)", func(s string) error {
		for n := range strings.SplitSeq(s, ",") {
			p, err := strconv.ParseInt(n, 10, 32)
			if err != nil || p < 0 {
				return errors.New("want a number")
			}
			o.partitions = append(o.partitions, int32(p))
		}
		return nil
	})
	fs.Func("from", "where to begin in each partition: earliest, latest, an `offset`, a time as 2026-01-31T08:00:00Z, or how long ago as 90m (default earliest)", func(s string) (err error) {
		o.from, err = parseStart(s, time.Now())
		return err
	})
	fs.Int64Var(&o.limit, "max", 0, "end after `n` records (default: no limit)")
	fs.BoolVar(&o.follow, "follow", false, "go on with what comes (default: end at the end as of the start)")
	isolation := fs.String("isolation", "read_committed", "Kafka's isolation.level: read_committed or read_uncommitted")
	fs.StringVar(&o.key, "key", formatAuto, "format of the keys: "+strings.Join(formats, ", "))
	fs.StringVar(&o.value, "value", formatAuto, "format of the values, likewise")
	fs.BoolVar(&o.allowErrors, "allow-errors", false, "exit with 0 although records could not be decoded")
	o.registry.flags(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprint(stderr, catUsage)
			fs.PrintDefaults()
			return nil, errUsage
		}
		return nil, usage(stderr, "cat", "%v", err)
	}
	bad := func(format string, args ...any) (*catOptions, error) {
		return nil, usage(stderr, "cat", format, args...)
	}
	switch {
	case fs.NArg() > 0:
		return bad("unexpected argument %q", fs.Arg(0))
	case conn.brokers == "":
		return bad("--brokers is required")
	case len(o.topics) == 0:
		return bad("--topic is required")
	case o.limit < 0:
		return bad("--max: %d is negative", o.limit)
	}
	switch *isolation {
	case "read_committed":
	case "read_uncommitted":
		o.isolation = sarama.ReadUncommitted
	default:
		return bad("--isolation is read_committed or read_uncommitted, not %q", *isolation)
	}
	for name, format := range map[string]string{"key": o.key, "value": o.value} {
		if !slices.Contains(formats, format) {
			return bad("--%s is %s, not %q", name, strings.Join(formats, ", "), format)
		}
		if needsRegistry(format) && !o.registry.given() {
			return bad("--%s %s needs --registry", name, format)
		}
	}
	slices.Sort(o.topics)
	o.topics = slices.Compact(o.topics)
	slices.Sort(o.partitions)
	o.partitions = slices.Compact(o.partitions)
	var err error
	if o.cluster, err = conn.config("leat-cat"); err != nil {
		return bad("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if err := o.registry.open(); err != nil {
		return bad("%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return o, nil
}

func parseStart(s string, now time.Time) (catStart, error) {
	switch s {
	case "earliest":
		return catStart{-1, cluster.Earliest}, nil
	case "latest":
		return catStart{-1, cluster.Latest}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
		return catStart{offset: n}, nil
	}
	if at, ok := parseTime(s, now); ok {
		return catStart{-1, at.UnixMilli()}, nil
	}
	return catStart{}, errors.New("want earliest, latest, an offset, a time as 2026-01-31T08:00:00Z, or how long ago as 90m")
}

// parseTime reads a time since 1970, or how long ago it is.
func parseTime(s string, now time.Time) (at time.Time, ok bool) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return time.UnixMilli(max(0, now.Add(-d).UnixMilli())), true
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.UnixMilli() >= 0 {
			return t, true
		}
	}
	return time.Time{}, false
}
