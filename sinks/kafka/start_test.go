package kafka_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	clusterpkg "github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

func TestUntilEndEndsAt(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		input func(c *cluster)
		want  []string
	}{
		{"nothing", func(*cluster) {}, []string{}},
		{"a record", func(c *cluster) { c.Produce(text("in", "k", "a")) }, []string{"a"}},
		{"a commit marker", func(c *cluster) { c.ProduceTransaction(true, text("in", "k", "a"), text("in", "k", "b")) }, []string{"a", "b"}},
		{"aborted records", func(c *cluster) {
			c.Produce(text("in", "k", "a"))
			c.ProduceTransaction(false, numbered("in", 0, 20)...)
		}, []string{"a"}},
		{"nothing but aborted records", func(c *cluster) { c.ProduceTransaction(false, numbered("in", 0, 20)...) }, []string{}},
		{"aborted between committed ones", func(c *cluster) {
			c.ProduceTransaction(true, text("in", "k", "a"))
			c.ProduceTransaction(false, text("in", "k", "b"))
			c.ProduceTransaction(true, text("in", "k", "c"))
			c.ProduceTransaction(false, text("in", "k", "d"))
		}, []string{"a", "c"}},
		{"deleted records", func(c *cluster) {
			c.Produce(numbered("in", 0, 10)...)
			noError(c.t, c.fake.Fake().DeleteRecords("in", 0, 10), "delete records")
		}, []string{}},
	}
	for _, tt := range tests {
		for _, g := range bothGuarantees {
			t.Run(tt.name+"/"+g.String(), func(t *testing.T) {
				t.Parallel()
				c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 1)}})
				tt.input(c)
				cfg := c.config()
				cfg.Delivery = g
				noError(t, run(t, copying("copy"), cfg), "run")
				same(t, "out", values(c.ReadAll("out")), tt.want)
				// And again from the position that this left.
				noError(t, run(t, copying("copy"), cfg), "run again")
				same(t, "out", values(c.ReadAll("out")), tt.want)
			})
		}
	}
}

// Each of two workers ends when the group is done, not when its own share is.
func TestUntilEndWithTwoWorkers(t *testing.T) {
	t.Parallel()
	c := inOut(t, 4)
	c.Prefill("in", 3000)
	a, b := launch(t, copying("copy"), c.config()), launch(t, copying("copy"), c.config())
	noError(t, a.wait(), "one worker")
	noError(t, b.wait(), "the other")
	if err := c.Compare("in", "out", 3000).Exact(); err != nil {
		t.Error(err)
	}
}

// UntilEnd is about what was there at the start: what comes later does not
// prolong it for ever.
func TestUntilEndIsAsOfTheStart(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	c.Produce(numbered("in", 0, 5)...)
	p := pipeline.New("copy")
	more := 5
	pipeline.To(stages.Peek(pipeline.From(p, "in", serde.String()), "more", func(string) {
		if more < 100 {
			c.Produce(numbered("in", more, more+1)...)
			more++
		}
	}), "out", serde.String())
	noError(t, run(t, p, c.config()), "run")
	if n := len(c.ReadAll("out")); n < 5 {
		t.Errorf("%d records came out, want 5 at least", n)
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	old := time.Now().Add(-time.Hour)
	tests := []struct {
		name  string
		start kafka.Start
		want  []string
	}{
		{"earliest", kafka.Earliest, []string{"old", "new", "later"}},
		{"the zero value", kafka.Start{}, []string{"old", "new", "later"}},
		{"latest", kafka.Latest, []string{"later"}},
		{"a time", kafka.StartAt(old.Add(time.Minute)), []string{"new", "later"}},
		{"a time before all", kafka.StartAt(old.Add(-time.Minute)), []string{"old", "new", "later"}},
		{"a time after all", kafka.StartAt(time.Now().Add(time.Hour)), []string{"later"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			first := text("in", "k", "old")
			first.Timestamp = old
			c.Produce(first, text("in", "k", "new"))
			cfg := c.config()
			cfg.Start = tt.start
			noError(t, run(t, copying("copy"), cfg), "run")
			// The start is pinned: a worker that was idle and begins again misses
			// nothing of what came in between.
			c.Produce(text("in", "k", "later"))
			noError(t, run(t, copying("copy"), cfg), "run again")
			same(t, "out", values(c.ReadAll("out")), tt.want)
		})
	}
}

// The positions at which a late start begins are the group's, also for a second
// worker that starts while the first is there.
func TestStartIsTheGroups(t *testing.T) {
	t.Parallel()
	c := inOut(t, 2)
	c.Produce(numbered("in", 0, 10)...)
	cfg := c.config()
	cfg.Start, cfg.UntilEnd = kafka.Latest, false
	a := launch(t, copying("copy"), cfg)
	c.Await("the start to be pinned", func() bool { return c.positions("copy", "in") == 10 })
	b := launch(t, copying("copy"), cfg)
	c.Produce(numbered("in", 10, 20)...)
	c.Await("the new records", func() bool { return c.positions("copy", "in") == 20 })
	a.stop()
	b.stop()
	if n := len(c.ReadAll("out")); n != 10 {
		t.Errorf("%d records came out, want the 10 that came after the start", n)
	}
}

func TestAPositionThatIsNoLongerInTheLog(t *testing.T) {
	t.Parallel()
	setUp := func(t *testing.T) *cluster {
		c := inOut(t, 1)
		c.Produce(numbered("in", 0, 4)...)
		noError(t, run(t, copying("copy"), c.config()), "run")
		c.Produce(numbered("in", 4, 10)...)
		noError(t, c.fake.Fake().DeleteRecords("in", 0, 7), "delete records")
		return c
	}
	t.Run("fails", func(t *testing.T) {
		t.Parallel()
		c := setUp(t)
		err := run(t, copying("copy"), c.config())
		wantError(t, err, nil, `group "copy"`, "no longer in the log", "ResetOutOfRange")
		same(t, "out", values(c.ReadAll("out")), []string{"v0", "v1", "v2", "v3"})
	})
	t.Run("is reset if wished", func(t *testing.T) {
		t.Parallel()
		c := setUp(t)
		cfg := c.config()
		cfg.ResetOutOfRange = true
		noError(t, run(t, copying("copy"), cfg), "run")
		same(t, "out", values(c.ReadAll("out")), []string{"v0", "v1", "v2", "v3", "v7", "v8", "v9"})
	})
}

// lookUpLimit is how soon a wrong address or a missing topic is found.
const lookUpLimit = 10 * time.Second

func TestMissingTopicsAreNamedAndNotCreated(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("there", 1), topic("here", 1), topic("dlq", 1)}})
	build := func(in, out, dlq string) *pipeline.Pipeline {
		p := pipeline.New("copy", pipeline.DeadLetter(dlq))
		pipeline.To(pipeline.From(p, in, serde.Bytes()), out, serde.Bytes())
		return p
	}
	within(t, lookUpLimit, func() {
		wantError(t, run(t, build("absent", "here", "dlq"), c.config()), pipeline.ErrMissingTopic, "absent")
		wantError(t, run(t, build("there", "absent", "dlq"), c.config()), pipeline.ErrMissingTopic, "absent")
		wantError(t, run(t, build("there", "here", "absent"), c.config()), pipeline.ErrMissingTopic, "absent")
		wantError(t, run(t, build("there", "absent", "absent2"), c.config()), pipeline.ErrMissingTopic, "absent, absent2")
	})
	for _, name := range []string{"absent", "absent2"} {
		if c.fake.Fake().TopicInfo(name) != nil {
			t.Errorf("topic %q has been created", name)
		}
	}
}

func TestWrongAddresses(t *testing.T) {
	t.Parallel()
	refusing := listener(t, nil)
	_ = refusing.Close()
	mute := listener(t, func(conn net.Conn) { // accepts and never answers
		<-t.Context().Done()
		_ = conn.Close()
	})
	rude := listener(t, func(conn net.Conn) { _ = conn.Close() })
	for name, addresses := range map[string][]string{
		"refused":       {refusing.Addr().String()},
		"never answers": {mute.Addr().String()},
		"hangs up":      {rude.Addr().String()},
		"no such host":  {"no-such-host.invalid:9092"},
		"several":       {refusing.Addr().String(), mute.Addr().String(), rude.Addr().String()},
		"not routed":    {"192.0.2.1:9092"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := kafka.Config{Brokers: addresses, Logger: silent}
			within(t, lookUpLimit, func() {
				wantError(t, run(t, copying("copy"), cfg), clusterpkg.ErrUnreachable, addresses[0])
			})
		})
	}
}

// One good address among bad ones is enough.
func TestOneGoodAddressIsEnough(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	c.Produce(text("in", "k", "v"))
	refusing := listener(t, nil)
	_ = refusing.Close()
	cfg := c.config()
	cfg.Brokers = append([]string{refusing.Addr().String()}, cfg.Brokers...)
	noError(t, run(t, copying("copy"), cfg), "run")
	same(t, "out", values(c.ReadAll("out")), []string{"v"})
}

// listener serves each connection with f; without f it serves none.
func listener(t *testing.T, f func(net.Conn)) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err, "listen")
	t.Cleanup(func() { _ = l.Close() })
	if f != nil {
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go f(conn)
			}
		}()
	}
	return l
}

// assignments are the calls of OnAssigned and OnRevoked.
func watched(cfg *kafka.Config, who string, j *journal[string]) {
	cfg.OnAssigned = func(p pipeline.Partition) { j.add(fmt.Sprintf("%s+%v", who, p)) }
	cfg.OnRevoked = func(p pipeline.Partition) { j.add(fmt.Sprintf("%s-%v", who, p)) }
}

func TestAssignmentsAreTold(t *testing.T) {
	t.Parallel()
	c := inOut(t, 2)
	c.Produce(numbered("in", 0, 20)...)
	var j journal[string]
	cfg := c.config()
	watched(&cfg, "a", &j)
	noError(t, run(t, copying("copy"), cfg), "run")
	all := j.list()
	slices.Sort(all)
	same(t, "calls", all, []string{"a+in[0]", "a+in[1]", "a-in[0]", "a-in[1]"})
}

// A static member that comes back gets its partitions again at once, without a
// rebalance for the others.
func TestAStaticMemberComesBack(t *testing.T) {
	t.Parallel()
	c := inOut(t, 2)
	cfg := c.config()
	var one, two pipeline.Stats
	cfg.UntilEnd, cfg.Instance, cfg.Stats = false, "one", &one
	other := cfg
	other.Instance, other.Stats = "two", &two
	var j journal[string]
	watched(&other, "two", &j)

	a := launch(t, copying("copy"), cfg)
	b := launch(t, copying("copy"), other)
	c.Await("a partition for each", func() bool {
		return len(one.Snapshot().Partitions) == 1 && len(two.Snapshot().Partitions) == 1
	})
	c.Produce(numbered("in", 0, 50)...)
	c.Await("the first records", func() bool { return c.positions("copy", "in") == 50 })
	a.stop()
	if n := c.Members("copy"); n != 2 {
		t.Errorf("the group has %d members after a static one has stopped, want 2", n)
	}
	before := j.list()
	cfg.Stats = new(pipeline.Stats) // of another run
	a = launch(t, copying("copy"), cfg)
	c.Produce(numbered("in", 50, 100)...)
	c.Await("the records after the restart", func() bool { return c.positions("copy", "in") == 100 })
	same(t, "assignments of the other", j.list(), before)
	a.stop()
	b.stop()
	if n := len(c.ReadAll("out")); n != 100 {
		t.Errorf("%d records came out, want 100", n)
	}
}

func TestLeaving(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		change  func(*kafka.Config)
		members int
	}{
		{"dynamic", func(*kafka.Config) {}, 0},
		{"static", func(c *kafka.Config) { c.Instance = "one" }, 1},
		{"static with LeaveGroup", func(c *kafka.Config) { c.Instance, c.LeaveGroup = "one", true }, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := inOut(t, 1)
			c.Produce(text("in", "k", "v"))
			cfg := c.config()
			cfg.UntilEnd = false
			tt.change(&cfg)
			r := launch(t, copying("copy"), cfg)
			c.Await("the record", func() bool { return c.positions("copy", "in") == 1 })
			r.stop()
			if n := c.Members("copy"); n != tt.members {
				t.Errorf("the group has %d members, want %d", n, tt.members)
			}
		})
	}
}

// A join is a long poll that takes no context: stopping must not wait for it.
func TestStoppingWhileJoining(t *testing.T) {
	t.Parallel()
	c := inOut(t, 1)
	c.Produce(text("in", "k", "v"))
	joining := make(chan struct{}, 100)
	c.fake.Fake().ControlKey(int16(kmsg.JoinGroup), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.fake.Fake().KeepControl()
		joining <- struct{}{}
		c.fake.Fake().SleepControl(func() { <-t.Context().Done() })
		return nil, nil, false
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := background(t, func(context.Context) error { return kafka.Run(ctx, copying("copy"), c.config()) })
	<-joining
	within(t, 5*time.Second, func() {
		cancel()
		noError(t, r.wait(), "stop")
	})
}
