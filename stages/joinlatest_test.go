package stages_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

// joinable is an input whose values begin with l or r, for the side; what follows is the
// value, and nothing means null.
func joinable(opts ...pipeline.Option) (p *pipeline.Pipeline, left, right pipeline.Stream[*string]) {
	p, in := strs(opts...)
	l, r := stages.Split(in, "sides", func(v string) bool { return v[0] == 'l' })
	value := func(v string) (*string, error) {
		if v = v[1:]; v == "" {
			return nil, nil
		}
		return &v, nil
	}
	return p, stages.Map(l, "l", value), stages.Map(r, "r", value)
}

var (
	nullable  = serde.Nullable(serde.String())
	latestIn  = stages.JoinConfig{Topic: "latest"}
	joinPlus  = func(l, r *string) (string, error) { return *l + "+" + *r, nil }
	joinFound = func(l, r *string, found bool) (string, error) {
		if !found {
			if r != nil {
				return "", errors.New("there should be no right")
			}
			return *l + "-", nil
		}
		return *l + "+" + *r, nil
	}
)

func inner(opts ...pipeline.Option) (*pipeline.Pipeline, pipeline.Stream[string]) {
	p, l, r := joinable(opts...)
	return p, stages.JoinLatest(l, r, "join", nullable, nullable, joinPlus, latestIn)
}

// keyedEvent is key and value with a space between.
func keyedEvent(offset int64, text string) *pipeline.Raw {
	key, value, _ := strings.Cut(text, " ")
	r := event(offset, 0, value)
	r.Key = []byte(key)
	return r
}

func TestJoinLatest(t *testing.T) {
	p, s := inner()
	to(s)
	optional, l, r := joinable()
	to(stages.JoinLatestOptional(l, r, "join", nullable, nullable, joinFound, latestIn))
	for _, c := range []struct{ in, inner, optional string }{
		{"a la, b rb, a r1, a r2, a lc, b ld", "a+1 a+2 c+2 d+b", "a- a+1 a+2 c+2 d+b"},
		{"a la, a r1, a r, a lb, a r2", "a+1 b+2", "a- a+1 a- b- b+2"}, // the right one is deleted
		{"a la, a r1, a l, a r2, a lb", "a+1 b+2", "a- a+1 b+2"},       // the left one is
		{"a l, a r, a l, a la, a r, a r", "", "a- a- a-"},              // what is not there is
	} {
		for q, want := range map[*pipeline.Pipeline]string{p: c.inner, optional: c.optional} {
			task := compile(t, q, "in")
			for i, text := range strings.Split(c.in, ", ") {
				if err := task.Process(t.Context(), keyedEvent(int64(i), text)); err != nil {
					t.Fatal(err)
				}
			}
			if got := outsOf(task); got != want {
				t.Errorf("%s: got %q, want %q", c.in, got, want)
			}
		}
	}
}

// What is put out has the head of the update.
func TestJoinLatestHead(t *testing.T) {
	p, s := inner()
	to(s)
	task := compile(t, p, "in")
	first := raw("la")
	first.Headers, first.Timestamp, first.Origin.Offset = nil, when.Add(-time.Hour), 3
	for _, r := range []*pipeline.Raw{first, raw("rb")} {
		if err := task.Process(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	outs := task.Outputs()
	expectHead(t, outs[len(outs)-1])
}

// A record that fails has updated nothing.
func TestJoinLatestOfFailures(t *testing.T) {
	p, s := inner(pipeline.DeadLetter("dead"))
	to(stages.Check(s, "check", func(v string) error {
		if strings.Contains(v, "bad") {
			return errOops
		}
		return nil
	}))
	task := compile(t, p, "in")
	for i, text := range []string{"a la", "a rbad", "a lb", "a r1", "a lbad", "a r2"} {
		if err := task.Process(t.Context(), keyedEvent(int64(i), text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := outsOf(task); got != "[rbad] b+1 [lbad] b+2" {
		t.Errorf("got %q", got)
	}
}

func TestJoinLatestWithoutKey(t *testing.T) {
	p, s := inner()
	to(s)
	r := raw("la")
	r.Key = nil
	if err := compile(t, p, "in").Process(t.Context(), r); err == nil || !strings.Contains(err.Error(), "no key to be joined by") {
		t.Errorf("got %v", err)
	}
}

func TestJoinLatestMistakes(t *testing.T) {
	p, l, r := joinable()
	to(stages.JoinLatest(l, r, "join", nullable, nil, joinPlus, stages.JoinConfig{Topic: "latest"}))
	to(stages.JoinLatest(l, r, "another", nullable, nullable, joinPlus, stages.JoinConfig{MaxBytes: -1, Topic: "another"}))
	other := pipeline.From(p, "other", nullable)
	to(stages.JoinLatest(l, other, "two inputs", nullable, nullable, joinPlus, stages.JoinConfig{Topic: "two"}))
	err := p.Validate()
	for _, want := range []string{"needs a serde for each side", "-1 bytes", `reached from several inputs (["in" "other"])`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

// heading is a serde that puts something into the headers.
type heading struct{ pipeline.Serde[*string] }

func (h heading) Append(ctx context.Context, dst []byte, at pipeline.Slot, v *string) ([]byte, error) {
	*at.Headers = at.Headers.Add("schema", []byte("1"))
	return h.Serde.Append(ctx, dst, at, v)
}

func TestJoinLatestBySerdesOfHeaders(t *testing.T) {
	p, l, r := joinable(pipeline.DeadLetter("dead"))
	to(stages.JoinLatest(l, r, "join", heading{nullable}, nullable, joinPlus, latestIn))
	err := compile(t, p, "in").Process(t.Context(), raw("la"))
	if !pipeline.IsFatal(err) || !strings.Contains(err.Error(), "writes headers") {
		t.Errorf("got %v", err)
	}
}

// slots logs where its serde is used.
type slots struct {
	pipeline.Serde[*string]
	at map[string]bool
}

func (s slots) Append(ctx context.Context, dst []byte, at pipeline.Slot, v *string) ([]byte, error) {
	s.at[at.Topic] = true
	return s.Serde.Append(ctx, dst, at, v)
}

func (s slots) Decode(ctx context.Context, at pipeline.Slot, data []byte) (*string, error) {
	s.at[at.Topic] = true
	return s.Serde.Decode(ctx, at, data)
}

func TestJoinLatestSlots(t *testing.T) {
	p, l, r := joinable()
	lefts, rights := slots{nullable, map[string]bool{}}, slots{nullable, map[string]bool{}}
	to(stages.JoinLatest(l, r, "join", lefts, rights, joinPlus, latestIn))
	task := compile(t, p, "in")
	for i, text := range []string{"a la", "a r1", "a lb"} {
		if err := task.Process(t.Context(), keyedEvent(int64(i), text)); err != nil {
			t.Fatal(err)
		}
	}
	if len(lefts.at) != 1 || !lefts.at["latest-left"] || len(rights.at) != 1 || !rights.at["latest-right"] {
		t.Errorf("lefts at %v, rights at %v", lefts.at, rights.at)
	}
}

// updates feeds updates of both sides of some keys, with deletions.
func updates(c *pipelinetest.Cluster, n int) {
	for part := range int32(2) {
		for i := range n {
			value := fmt.Sprint([]string{"l", "r", "l", "r", "r"}[i%5], i)
			if i%7 == 6 {
				value = value[:1]
			}
			c.Feed("in", pipelinetest.Text(fmt.Sprintf("k%d-%d", part, i%3), value).On(part).At(when.Add(time.Duration(i)*time.Second)))
		}
	}
}

func TestJoinLatestSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := inner()
			to(s)
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { updates(c, 30) },
	})
}

// The same behind which records are held: outputs do not depend on where transactions end.
func TestJoinLatestBeforeHoldersSurvivesEveryStep(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			p, s := inner(pipeline.OnError(pipeline.Skip))
			to(stages.Parallel(s, "parallel", 3, func(v string) (string, error) { return v, nil }))
			return p
		},
		Feed: func(c *pipelinetest.Cluster) { updates(c, 30) },
	})
}

// The values are there after a restart, and when the partition has moved.
func TestJoinLatestOverRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := inner()
		to(s)
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
		for _, text := range []string{"a la", "a r1", "b r2", "a l", "b lb", "a lc"} {
			key, value, _ := strings.Cut(text, " ")
			c.Feed("in", pipelinetest.Text(key, value))
			if err := c.Run(t.Context(), p, pipelinetest.Instance(text)); err != nil {
				t.Fatal(err)
			}
		}
		if got := pipelinetest.Values(c, "out", serde.String()); !slices.Equal(got, []string{"a+1", "b+2", "c+1"}) {
			t.Errorf("got %q", got)
		}
		if got := stateOf(c, "latest"); len(got) != 4 || string(got["la"]) != "c" || string(got["rb"]) != "2" {
			t.Errorf("the state is %q", got)
		}
	})
}

// Beyond its bound it forgets what was not updated for the longest time.
func TestJoinLatestForgets(t *testing.T) {
	p, l, r := joinable()
	to(stages.JoinLatest(l, r, "join", nullable, nullable, joinPlus, stages.JoinConfig{Topic: "latest", MaxBytes: 2 * 203}))
	task := compile(t, p, "in")
	for i, text := range []string{"a l1", "b l2", "a l3", "c l4", "", "a r1", "b r2", "c r3"} {
		if text == "" {
			if err := task.BeforeCommit(t.Context()); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := task.Process(t.Context(), keyedEvent(int64(i), text)); err != nil {
			t.Fatal(err)
		}
	}
	if got := outsOf(task); got != "3+1 4+3" {
		t.Errorf("got %q", got)
	}
}
