package wmsource_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	wmsource "github.com/leat-stream/leat/sources/watermill"
	"github.com/leat-stream/leat/stages"
)

var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// byHand is a subscriber whose messages a test sends.
type byHand struct {
	messages chan *message.Message
	stays    bool             // it does not close its channel
	late     *message.Message // it sends this one when its context has ended
	ctx      context.Context
}

func hand() *byHand { return &byHand{messages: make(chan *message.Message, 100)} }

func (b *byHand) Subscribe(ctx context.Context, _ string) (<-chan *message.Message, error) {
	out := make(chan *message.Message)
	b.ctx = ctx
	go func() {
		for {
			select {
			case m := <-b.messages:
				select {
				case out <- m:
					continue
				case <-ctx.Done():
					m.Nack()
				}
			case <-ctx.Done():
			}
			if b.late != nil {
				out <- b.late
			}
			if !b.stays {
				close(out)
			}
			return
		}
	}()
	return out, nil
}
func (b *byHand) Close() error { return nil }

func (b *byHand) send(payloads ...string) (sent []*message.Message) {
	for _, p := range payloads {
		m := message.NewMessage("id-"+p, []byte(p))
		b.messages <- m
		sent = append(sent, m)
	}
	return sent
}

// kept is a sink that keeps values. Its functions, if not nil, may fail.
type kept struct {
	send, flush func() error

	mu     sync.Mutex
	values []string
}

func (k *kept) Open(_ context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	return pipeline.Terms{Guarantee: spec.Guarantee}, nil
}

func (k *kept) Send(_ context.Context, outputs []pipeline.Output) error {
	if k.send != nil {
		if err := k.send(); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range outputs {
		k.values = append(k.values, string(o.Value))
	}
	return nil
}

func (k *kept) Flush(context.Context) error {
	if k.flush != nil {
		return k.flush()
	}
	return nil
}
func (k *kept) Close() error { return nil }

func (k *kept) list() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.values)
}

func copying() *pipeline.Pipeline {
	p := pipeline.New("test")
	pipeline.To(pipeline.From(p, "in", serde.String()), "out", serde.String())
	return p
}

// run runs a pipeline until the function returned is called.
func run(t *testing.T, p *pipeline.Pipeline, sub message.Subscriber, sink pipeline.Sink) (stop func() error) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- pipeline.Run(ctx, p, wmsource.New(wmsource.Config{Subscriber: sub, Logger: silent}), sink,
			pipeline.Require(pipeline.AtLeastOnce), pipeline.CommitEvery(time.Hour, 0, 0), pipeline.Logger(silent))
	}()
	return func() error {
		cancel()
		return <-done
	}
}

func state(m *message.Message) string {
	select {
	case <-m.Acked():
		return "acked"
	case <-m.Nacked():
		return "nacked"
	default:
		return "open"
	}
}

func expectStates(t *testing.T, when string, messages []*message.Message, want string) {
	t.Helper()
	var got []string
	for _, m := range messages {
		got = append(got, state(m))
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("%s: messages are %s, want %s", when, s, want)
	}
}

// A subscriber that sends nothing before the last message is acknowledged is not kept
// waiting: a hundred messages take no time, though a commit is due every hour only.
func TestOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channel := gochannel.NewGoChannel(gochannel.Config{Persistent: true}, watermill.NopLogger{})
		var want []string
		for i := range 100 {
			want = append(want, fmt.Sprint(i))
			if err := channel.Publish("in", message.NewMessage(fmt.Sprint(i), []byte(want[i]))); err != nil {
				t.Fatal(err)
			}
		}
		sink, began := new(kept), time.Now()
		stop := run(t, copying(), channel, sink)
		synctest.Wait()
		got := sink.list()
		slices.Sort(got) // the channel's own order is none
		slices.Sort(want)
		if took := time.Since(began); took != 0 || !slices.Equal(got, want) {
			t.Errorf("after %v: %d messages, want %d", took, len(got), len(want))
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if err := channel.Close(); err != nil {
			t.Error(err)
		}
	})
}

// Messages are acknowledged after the sink's commit, and not before.
func TestAcknowledgedAfterCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, gate := hand(), make(chan struct{})
		sink := &kept{flush: func() error {
			<-gate
			return nil
		}}
		sent := sub.send("a", "b", "c")
		stop := run(t, copying(), sub, sink)
		synctest.Wait()
		if len(sink.list()) == 0 {
			t.Error("nothing was sent")
		}
		expectStates(t, "before the commit", sent, "open open open")
		close(gate)
		synctest.Wait()
		expectStates(t, "after it", sent, "acked acked acked")
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// When something fails, what is not committed is refused, and comes again.
func TestFailureHasMessagesComeAgain(t *testing.T) {
	for name, fail := range map[string]func(*kept, func() error){
		"send":  func(k *kept, f func() error) { k.send = f },
		"flush": func(k *kept, f func() error) { k.flush = f },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sub, sink := hand(), new(kept)
				failures := 0
				fail(sink, func() error {
					if failures++; failures <= 2 {
						return errors.New("oops")
					}
					return nil
				})
				stop := run(t, copying(), sub, sink)
				for try := 0; ; try++ {
					sent := sub.send("a")
					time.Sleep(10 * time.Second) // fake time: a back-off
					synctest.Wait()
					if state(sent[0]) == "acked" {
						break
					}
					if try == 5 {
						t.Fatalf("the message is %s", state(sent[0]))
					}
				}
				if got := sink.list(); len(got) == 0 || got[len(got)-1] != "a" || failures < 3 {
					t.Errorf("the sink has %v after %d calls", got, failures)
				}
				if err := stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is done when the pipeline stops is acknowledged; what is not is refused.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub, sink, held := hand(), new(kept), make(chan struct{})
		sub.late = message.NewMessage("late", nil)
		sink.flush = func() error {
			if sub.ctx.Err() != nil {
				t.Error("the subscription has ended before the last messages are acknowledged")
			}
			return nil
		}
		p := pipeline.New("test")
		slow := stages.CheckCtx(pipeline.From(p, "in", serde.String()), "slow", func(ctx context.Context, v string) error {
			if v == "b" {
				<-held
			}
			return nil
		})
		pipeline.To(slow, "out", serde.String())
		stop := run(t, p, sub, sink)
		sent := sub.send("a", "b", "c")
		synctest.Wait()
		stopped := make(chan error, 1)
		go func() { stopped <- stop() }()
		synctest.Wait()
		close(held) // b is finished within the time that a stop has
		if err := <-stopped; err != nil {
			t.Error(err)
		}
		expectStates(t, "after the stop", append(sent, sub.late), "acked acked nacked nacked")
	})
}

// A record that fails the pipeline has its message refused.
func TestFailedRecordIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("test")
		oops := errors.New("oops")
		pipeline.To(stages.Check(pipeline.From(p, "in", serde.String()), "fails", func(string) error { return oops }), "out", serde.String())
		sub := hand()
		stop := run(t, p, sub, new(kept))
		sent := sub.send("a")
		synctest.Wait()
		if err := stop(); !errors.Is(err, oops) {
			t.Errorf("error %v, want %v", err, oops)
		}
		expectStates(t, "after the failure", sent, "nacked")
	})
}

func TestSubscriptionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		channel := gochannel.NewGoChannel(gochannel.Config{}, watermill.NopLogger{})
		stop := run(t, copying(), channel, new(kept))
		synctest.Wait()
		if err := channel.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := stop(); !errors.Is(err, wmsource.ErrSubscriptionEnded) {
			t.Errorf("error %v, want %v", err, wmsource.ErrSubscriptionEnded)
		}
	})
}

// A subscriber that does not close its channel does not keep the pipeline from stopping.
func TestSubscriberThatStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sub := hand()
		sub.stays = true
		stop := run(t, copying(), sub, new(kept))
		synctest.Wait()
		began := time.Now()
		if err := stop(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// transactional has transactions, which do not help.
type transactional struct{ kept }

func (*transactional) Init(context.Context) error   { return nil }
func (*transactional) Begin(context.Context) error  { return nil }
func (*transactional) Commit(context.Context) error { return nil }
func (*transactional) Abort(context.Context) error  { return nil }
func (*transactional) SendOffsets(context.Context, []pipeline.Offset, pipeline.GroupMetadata) error {
	return nil
}

func TestExactlyOnceIsRefused(t *testing.T) {
	err := pipeline.Run(t.Context(), copying(), wmsource.New(wmsource.Config{Subscriber: hand()}), new(transactional))
	if !errors.Is(err, pipeline.ErrGuarantee) {
		t.Errorf("error %v, want %v", err, pipeline.ErrGuarantee)
	}
	err = pipeline.Run(t.Context(), copying(), wmsource.New(wmsource.Config{}), new(kept), pipeline.Require(pipeline.AtLeastOnce))
	if !errors.Is(err, pipeline.ErrInvalid) {
		t.Errorf("error %v, want %v", err, pipeline.ErrInvalid)
	}
}
