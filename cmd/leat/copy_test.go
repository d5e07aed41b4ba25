package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
)

// lookUpLimit is how soon a wrong address or a missing topic is found.
const lookUpLimit = 10 * time.Second

// outcome is what a run of the command came to.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

// leatWith runs the command in this process.
func leatWith(ctx context.Context, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	began := time.Now()
	code := run(ctx, args, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String(), time.Since(began)}
}

func (o outcome) want(t *testing.T, code int) {
	t.Helper()
	if o.code != code {
		t.Fatalf("exit code %d, want %d; stderr:\n%s", o.code, code, o.stderr)
	}
}

// oneLine checks that an error is told in a single line that says what it should.
func (o outcome) oneLine(t *testing.T, says ...string) {
	t.Helper()
	if n := strings.Count(o.stderr, "\n"); n != 1 || !strings.HasSuffix(o.stderr, "\n") {
		t.Errorf("stderr is %d lines, want one:\n%s", n, o.stderr)
	}
	for _, s := range says {
		if !strings.Contains(o.stderr, s) {
			t.Errorf("stderr %q does not say %q", o.stderr, s)
		}
	}
}

func TestBadFlags(t *testing.T) {
	good := []string{"copy", "--brokers", "127.0.0.1:1", "--from", "a", "--to", "b", "--group", "g"}
	with := func(more ...string) []string { return append(append([]string(nil), good...), more...) }
	for _, tt := range []struct {
		args []string
		says string
	}{
		{good[:7], "--group is required"},
		{append([]string{"copy"}, good[3:]...), "--brokers is required"},
		{with("--from", ""), "--from is required"},
		{with("--to", ""), "--to is required"},
		{with("--wrong"), "-wrong"},
		{with("--delivery", "at-most-once"), "at-most-once"},
		{with("--commit-interval", "soon"), "soon"},
		{with("--commit-interval", "-1s"), "--commit-interval must be positive"},
		{with("--commit-interval", "0"), "commit-interval"},
		{with("--session-timeout", "0s"), "--session-timeout must be positive"},
		{with("--header", "novalue"), "key=value"},
		{with("--header", "=v"), "key=value"},
		{with("--brokers", "no-port"), "no-port"},
		{with("--brokers", "a:1,,b:2"), "host:port"},
		{with("--to", "bad/name"), "bad/name"},
		{with("stray"), "stray"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			o := leatWith(t.Context(), tt.args...)
			o.want(t, 2)
			o.oneLine(t, "leat copy: ", tt.says)
			if o.stdout != "" {
				t.Errorf("stdout is %q", o.stdout)
			}
		})
	}
}

func TestHelpAndNoCommand(t *testing.T) {
	for args, says := range map[string]string{"": "usage: leat COMMAND", "nonsense": `no command "nonsense"`, "copy --help": "usage: leat copy"} {
		o := leatWith(t.Context(), strings.Fields(args)...)
		o.want(t, 2)
		if !strings.Contains(o.stderr, says) {
			t.Errorf("leat %s says %q, not %q", args, o.stderr, says)
		}
	}
}

func TestUnreachableBrokers(t *testing.T) {
	t.Parallel()
	mute, err := net.Listen("tcp", "127.0.0.1:0") // accepts and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, address := range map[string]string{"refused": gone.Addr().String(), "never answers": mute.Addr().String()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := leatWith(t.Context(), "copy", "--brokers", address, "--from", "a", "--to", "b", "--group", "g")
			o.want(t, 1)
			o.oneLine(t, "leat copy: ", "no broker answers at "+address)
			if o.took > lookUpLimit {
				t.Errorf("it took %v", o.took)
			}
		})
	}
}

// place is an embedded cluster with the topics in and out.
type place struct {
	*checktest.Client
	fake *embedded.Cluster
	args []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	fake, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "in", Partitions: 2}, {Name: "out", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	return &place{
		checktest.Dial(t, fake.Brokers()), fake,
		[]string{"copy", "--brokers", strings.Join(fake.Brokers(), ","), "--group", "g", "--from", "in", "--to", "out", "--commit-interval", "20ms"},
	}
}

func (p *place) with(more ...string) []string {
	return append(append([]string(nil), p.args...), more...)
}

func TestMissingTopics(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, flag := range []string{"--from", "--to"} {
		o := leatWith(t.Context(), p.with(flag, "absent")...)
		o.want(t, 1)
		o.oneLine(t, "leat copy: ", "absent", "topic does not exist")
		if o.took > lookUpLimit {
			t.Errorf("it took %v", o.took)
		}
	}
	if p.fake.Fake().TopicInfo("absent") != nil {
		t.Error("the topic has been created")
	}
}

var lastLine = regexp.MustCompile(`^records=(\d+) seconds=\d+\.\d{3} cpu_us_per_record=\d+\.\d{3} peak_rss_mib=\d+\.\d\n$`)

func (o outcome) records(t *testing.T) int {
	t.Helper()
	m := lastLine.FindStringSubmatch(o.stdout)
	if m == nil {
		t.Fatalf("stdout is %q", o.stdout)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestCopyUntilTheEnd(t *testing.T) {
	t.Parallel()
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.Prefill("in", 2000)
			o := leatWith(t.Context(), p.with("--until-end", "--delivery", delivery, "--header", "h=1", "--header", "h=2=3", "--header", "empty=")...)
			o.want(t, 0)
			if n := o.records(t); n != 2000 {
				t.Errorf("it says %d records, want 2000", n)
			}
			err := p.Compare("in", "out", 2000, header("h", "1"), header("h", "2=3"), header("empty", "")).Exact()
			if err != nil {
				t.Error(err)
			}
			transactional := p.ReadAll("out")[0].Attrs.IsTransactional()
			if transactional != (delivery == "exactly-once") {
				t.Errorf("%s: transactional %v", delivery, transactional)
			}
			// Nothing is left to do.
			o = leatWith(t.Context(), p.with("--until-end", "--delivery", delivery)...)
			o.want(t, 0)
			if n := o.records(t); n != 0 {
				t.Errorf("the second run says %d records, want 0", n)
			}
		})
	}
}

func header(k, v string) kgo.RecordHeader { return kgo.RecordHeader{Key: k, Value: []byte(v)} }

// The context is what main ends on SIGTERM and SIGINT; the real tier sends these.
func TestCopyStops(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		flags   []string
		members int // left in the group
	}{
		{nil, 0},
		{[]string{"--instance", "one"}, 1},
		{[]string{"--instance", "one", "--leave"}, 0},
		{[]string{"--delivery", "at-least-once"}, 0},
	} {
		t.Run(fmt.Sprint(tt.flags), func(t *testing.T) {
			t.Parallel()
			p := newPlace(t)
			p.Prefill("in", 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan outcome, 1)
			go func() { ended <- leatWith(ctx, p.with(tt.flags...)...) }()
			p.Await("all of it", func() bool {
				sum := int64(0)
				for _, at := range p.Committed("g", "in") {
					sum += at
				}
				return sum == 100
			})
			began := time.Now()
			cancel()
			o := <-ended
			o.want(t, 0)
			if took := time.Since(began); took > lookUpLimit {
				t.Errorf("it took %v to stop", took)
			}
			if n := o.records(t); n != 100 {
				t.Errorf("it says %d records, want 100", n)
			}
			if n := p.Members("g"); n != tt.members {
				t.Errorf("the group has %d members, want %d", n, tt.members)
			}
		})
	}
}

func TestAStaticInstanceLeavesAtTheEnd(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	p.Prefill("in", 10)
	o := leatWith(t.Context(), p.with("--until-end", "--instance", "one")...)
	o.want(t, 0)
	if n := p.Members("g"); n != 0 {
		t.Errorf("the group has %d members, want none", n)
	}
}
