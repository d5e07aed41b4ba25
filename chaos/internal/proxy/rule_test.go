package proxy

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/checktest"
)

func TestDropIsNotApplied(t *testing.T) {
	b := newBench(t, 1)
	cl := b.client()
	rule := b.Drop(Match{APIKeys: []kmsg.Key{kmsg.CreateTopics}, Count: 1})
	if err := create(within(t), cl, "t"); err == nil {
		t.Error("the request was answered")
	}
	if b.exists("t") || b.got(kmsg.CreateTopics) != 0 {
		t.Error("the cluster has got the request")
	}
	must(t, create(within(t), cl, "t"))
	must(t, rule.Wait(within(t), 1))
	if !b.exists("t") || rule.Hits() != 1 {
		t.Errorf("exists %v, hits %d", b.exists("t"), rule.Hits())
	}
}

func TestCutAfterApplied(t *testing.T) {
	b := newBench(t, 1)
	cl := b.client()
	rule := b.CutAfterApplied(Match{APIKeys: []kmsg.Key{kmsg.CreateTopics}, Count: 1})
	if err := create(within(t), cl, "t"); err == nil {
		t.Error("the request was answered")
	}
	must(t, rule.Wait(within(t), 1))
	if !b.exists("t") {
		t.Error("the cluster has not executed the request")
	}
	must(t, create(within(t), cl, "u"))
}

// A producer that numbers its batches writes one again whose answer it lost; the
// cluster has it once.
func TestCutAfterAppliedProduce(t *testing.T) {
	b := newBench(t, 1, kfake.SeedTopics(1, "t"))
	cl := b.client(append(fast, kgo.DefaultProduceTopic("t"))...)
	rule := b.CutAfterApplied(Match{APIKeys: []kmsg.Key{kmsg.Produce}, Count: 1})
	for _, v := range []string{"a", "b"} {
		must(t, cl.ProduceSync(within(t), kgo.StringRecord(v)).FirstErr())
	}
	if rule.Hits() != 1 || b.got(kmsg.Produce) != 3 {
		t.Errorf("%d hits, %d requests; want 1 and 3", rule.Hits(), b.got(kmsg.Produce))
	}
	if got := b.values("t", 2); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("read %v", got)
	}
}

// A request that is never answered does not use the rule up.
func TestCutAfterAppliedGivesItsCountBack(t *testing.T) {
	e, p := newEcho(t, Config{})
	e.setMute(true)
	rule := p.CutAfterApplied(Match{Count: 1})
	c := dial(t, p)
	c.send(1)
	e.awaitArrived(t, 1)
	p.Cut()
	c.wantCut()
	checktest.Await(t, "the connection to end", patience, func() bool { return len(p.open(nil)) == 0 })
	e.setMute(false)
	c = dial(t, p)
	c.send(2)
	c.wantCut()
	must(t, rule.Wait(within(t), 1))
	c = dial(t, p)
	c.send(3)
	c.wantAnswers(3)
	if rule.Hits() != 1 {
		t.Errorf("%d hits, want 1", rule.Hits())
	}
}

func TestReset(t *testing.T) {
	e, p := newEcho(t, Config{})
	c := dial(t, p)
	p.Reset(Match{Count: 1})
	c.send(1)
	if err := c.wantCut(); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
	c = dial(t, p)
	c.send(2)
	c.wantAnswers(2)
	e.awaitArrived(t, 2)
}

// Which requests a rule strikes, one after the other on connections of their own.
func TestSkipAndCount(t *testing.T) {
	strikes := func(p *Proxy, n int32) (cut []int32) {
		for id := range n {
			c := dial(t, p)
			c.send(id)
			if _, err := c.answer(); err != nil {
				cut = append(cut, id)
			}
			_ = c.Close()
		}
		return cut
	}
	for _, c := range []struct {
		name  string
		rules []Match
		want  []int32
	}{
		{"all", []Match{{}}, []int32{0, 1, 2, 3, 4, 5}},
		{"the first", []Match{{Count: 1}}, []int32{0}},
		{"after two", []Match{{SkipFirst: 2}}, []int32{2, 3, 4, 5}},
		{"two after one", []Match{{SkipFirst: 1, Count: 2}}, []int32{1, 2}},
		{"a second rule goes on where the first one ends", []Match{{SkipFirst: 1, Count: 1}, {SkipFirst: 2, Count: 1}}, []int32{1, 3}},
		{"another kind", []Match{{APIKeys: []kmsg.Key{kmsg.Fetch}}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, p := newEcho(t, Config{})
			var rules []*Rule
			for _, m := range c.rules {
				rules = append(rules, p.Drop(m))
			}
			if got := strikes(p, 6); !slices.Equal(got, c.want) {
				t.Errorf("struck %v, want %v", got, c.want)
			}
			checktest.Await(t, "all hits to be counted", patience, func() bool {
				hits := int64(0)
				for _, r := range rules {
					hits += r.Hits()
				}
				return hits == int64(len(c.want))
			})
			for _, r := range rules {
				r.Remove()
				r.Remove()
			}
			if got := strikes(p, 2); got != nil {
				t.Errorf("struck %v although the rule is removed", got)
			}
		})
	}
}

// A connection that has come upon a rule just before it was removed is not struck.
func TestRemovedRuleTakesNothing(t *testing.T) {
	_, p := newEcho(t, Config{})
	rule := p.Drop(Match{})
	if !rule.take() {
		t.Error("the rule takes nothing")
	}
	rule.Remove()
	if rule.take() {
		t.Error("the rule takes a request although it is removed")
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	_, p := newEcho(t, Config{})
	rule := p.Drop(Match{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := rule.Wait(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Wait returned %v", err)
	}
}
