package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// copyOptions are the flags of leat copy.
type copyOptions struct {
	from, to string
	headers  []pipeline.Header
	cfg      kafka.Config
}

func runCopy(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parseCopy(args, stderr)
	if err != nil {
		return err
	}
	var stats pipeline.Stats
	opts.cfg.Stats = &stats
	opts.cfg.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	opts.cfg.StopTimeout = 8 * time.Second

	began := time.Now()
	err = kafka.Run(ctx, copyPipeline(opts), opts.cfg)
	s := stats.Snapshot()
	seconds := 0.0
	if s.Committed > 0 {
		seconds = s.LastCommit.Sub(began).Seconds()
	}
	u := processUsage()
	fmt.Fprintf(stdout, "records=%d seconds=%.3f cpu_us_per_record=%.3f peak_rss_mib=%.1f\n",
		s.Committed, seconds, float64(u.cpu.Microseconds())/float64(max(1, s.Committed)), u.peakMiB)
	return err
}

// copyPipeline is the smallest pipeline: bytes in, bytes out.
func copyPipeline(o *copyOptions) *pipeline.Pipeline {
	p := pipeline.New("copy")
	var out []pipeline.StageOption
	for _, h := range o.headers {
		out = append(out, pipeline.AddHeader(h.Key, h.Value))
	}
	pipeline.To(pipeline.From(p, o.from, serde.Bytes()), o.to, serde.Bytes(), out...)
	return p
}

func parseCopy(args []string, stderr io.Writer) (*copyOptions, error) {
	o := &copyOptions{}
	fs := flag.NewFlagSet("leat copy", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	var conn connection
	conn.flags(fs)
	fs.StringVar(&o.from, "from", "", "input `topic` (required)")
	fs.StringVar(&o.to, "to", "", "output `topic`, which must exist (required)")
	fs.StringVar(&o.cfg.Group, "group", "", "consumer `group` (required)")
	fs.StringVar(&o.cfg.Instance, "instance", "", "`name` of this worker: a static member with a stable transactional id (default: a dynamic member)")
	delivery := fs.String("delivery", "exactly-once", "exactly-once or at-least-once")
	fs.DurationVar(&o.cfg.CommitInterval, "commit-interval", pipeline.DefaultCommitInterval, "time between commits")
	fs.DurationVar(&o.cfg.SessionTimeout, "session-timeout", 45*time.Second, "Kafka's session.timeout.ms")
	fs.BoolVar(&o.cfg.UntilEnd, "until-end", false, "end when the group has committed everything that was there at the start")
	fs.BoolVar(&o.cfg.LeaveGroup, "leave", false, "as a static member, leave the group at the end (implied by -until-end)")
	fs.Func("header", "`k=v` appended to every record; may be repeated", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok || k == "" {
			return errors.New("want key=value")
		}
		o.headers = append(o.headers, pipeline.Header{Key: k, Value: []byte(v)})
		return nil
	})
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stderr)
			fmt.Fprintln(stderr, "usage: leat copy --brokers A,B --from TOPIC --to TOPIC --group GROUP [flags]")
			fs.PrintDefaults()
			return nil, errUsage
		}
		return nil, usage(stderr, "copy", "%v", err)
	}
	if fs.NArg() > 0 {
		return nil, usage(stderr, "copy", "unexpected argument %q", fs.Arg(0))
	}
	for name, v := range map[string]string{"brokers": conn.brokers, "from": o.from, "to": o.to, "group": o.cfg.Group} {
		if v == "" {
			return nil, usage(stderr, "copy", "--%s is required", name)
		}
	}
	switch *delivery {
	case "exactly-once":
	case "at-least-once":
		o.cfg.Delivery = pipeline.AtLeastOnce
	default:
		return nil, usage(stderr, "copy", "--delivery is exactly-once or at-least-once, not %q", *delivery)
	}
	for name, d := range map[string]time.Duration{"commit-interval": o.cfg.CommitInterval, "session-timeout": o.cfg.SessionTimeout} {
		if d <= 0 {
			return nil, usage(stderr, "copy", "--%s must be positive, not %v", name, d)
		}
	}
	at, err := conn.config("leat")
	if err != nil {
		return nil, usage(stderr, "copy", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	o.cfg.Brokers, o.cfg.ClientID, o.cfg.TLS, o.cfg.SASL = at.Brokers, at.ClientID, at.TLS, at.SASL
	if o.cfg.Instance == "" && o.cfg.LeaveGroup {
		o.cfg.LeaveGroup = false // a dynamic member always leaves
	}
	if o.cfg.Instance != "" && o.cfg.UntilEnd {
		o.cfg.LeaveGroup = true
	}
	if err := o.cfg.Validate(); err != nil {
		return nil, usage(stderr, "copy", "%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	if err := copyPipeline(o).Validate(); err != nil {
		return nil, usage(stderr, "copy", "%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	return o, nil
}

// usage reports a mistake in the flags in one line.
func usage(stderr io.Writer, command, format string, args ...any) error {
	fmt.Fprintf(stderr, "leat "+command+": "+format+" (see leat "+command+" --help)\n", args...)
	return errUsage
}
