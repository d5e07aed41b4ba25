package watermill_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
	"github.com/leat-stream/leat/watermill"
)

var errOops = errors.New("oops")

// handled is a pipeline of one handler, from topic in to topic out.
func handled(h message.HandlerFunc, opts ...pipeline.StageOption) *pipeline.Pipeline {
	p := pipeline.New("test", pipeline.DeadLetter("dlq"))
	pipeline.To(watermill.Handler(pipeline.From(p, "in", watermill.Messages()), "handler", h, opts...), "out", watermill.Messages())
	return p
}

func in(id, payload string, headers ...string) pipelinetest.Message {
	m := pipelinetest.Text("k", payload).Header(watermill.UUIDHeaderKey, id)
	for _, h := range headersOf(headers...) {
		m = m.Header(h.Key, string(h.Value))
	}
	return m
}

// rows are a topic's committed records as text.
func rows(c *pipelinetest.Cluster, topic string) (out []string) {
	for _, r := range c.Records(topic) {
		out = append(out, fmt.Sprintf("%s: %s %s", r.Key, r.Value, textOf(r.Headers)))
	}
	return out
}

func expectRows(t *testing.T, c *pipelinetest.Cluster, topic string, want ...string) {
	t.Helper()
	if got := rows(c, topic); !slices.Equal(got, want) {
		t.Errorf("topic %s has %q, want %q", topic, got, want)
	}
}

// process runs a pipeline over records.
func process(t *testing.T, p *pipeline.Pipeline, records ...pipelinetest.Message) *pipelinetest.Cluster {
	t.Helper()
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	c.Feed("in", records...)
	pipelinetest.Run(t, p, c)
	return c
}

const uuid = watermill.UUIDHeaderKey + "="

func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := time.UnixMilli(1_700_000_000_000)
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			switch string(msg.Payload) {
			case "drop":
				return nil, nil
			case "pass":
				return []*message.Message{msg}, nil
			case "change":
				msg.Metadata.Set("a", "changed")
				return []*message.Message{msg}, nil
			}
			one, two := message.NewMessage("one", []byte("1")), message.NewMessage("two", nil)
			one.Metadata.Set("b", msg.Metadata["b"])
			return []*message.Message{one, two}, nil
		}),
			in("x", "drop"), in("y", "pass", "a=1", "a=2").At(at), in("z", "change", "a=1", "b=2", "a=3"), in("w", "two", "a=1", "b=2", "b=3"),
		)
		expectRows(t, c, "out",
			"k: pass "+uuid+"y a=1 a=2",
			"k: change "+uuid+"z b=2 a=changed",
			"k: 1 "+uuid+"one b=2 b=3",
			"k:  "+uuid+"two",
		)
		out := c.Records("out")
		if !out[0].Timestamp.Equal(at) {
			t.Errorf("timestamp %v, want the record's %v", out[0].Timestamp, at)
		}
		if out[3].Value != nil {
			t.Error("a nil payload is not null")
		}
	})
}

// Of a stream of bytes the handler's message is the record, too.
func TestHandlerOfBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("test")
		records := pipeline.From(p, "in", serde.Bytes())
		pipeline.To(watermill.Handler(records, "handler", func(msg *message.Message) ([]*message.Message, error) {
			if key, ok := watermill.MessageKeyFromCtx(msg.Context()); !ok || string(key) != "k" {
				t.Errorf("key %s", key)
			}
			msg.Metadata.Set("b", msg.UUID+msg.Metadata["a"])
			return []*message.Message{msg}, nil
		}), "out", watermill.Messages())
		pipeline.To(records, "same", serde.Bytes())
		c := process(t, p, in("x", "v", "a=1", "a=2"), pipelinetest.Bytes([]byte("k"), nil))
		expectRows(t, c, "out", "k: v "+uuid+"x a=1 a=2 b=x2", "k:  "+uuid+" b=")
		expectRows(t, c, "same", "k: v "+uuid+"x a=1 a=2", "k:  ")
	})
}

// A handler may change its message: others have the record as it was, and so has the
// next try.
func TestHandlerHasItsOwnMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pipeline.New("test")
		messages := pipeline.From(p, "in", watermill.Messages())
		tries := 0
		changed := watermill.Handler(messages, "changes", func(msg *message.Message) ([]*message.Message, error) {
			if tries++; msg.Metadata["a"] != "1" {
				t.Errorf("try %d has metadata %v", tries, msg.Metadata)
			}
			msg.Metadata.Set("a", "2")
			msg.UUID, msg.Payload = "other", []byte("other")
			if tries == 1 {
				return nil, errOops
			}
			return []*message.Message{msg}, nil
		}, pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{}, pipeline.Fail)))
		pipeline.To(changed, "changed", watermill.Messages())
		pipeline.To(messages, "same", watermill.Messages())
		c := process(t, p, in("x", "v", "a=1"))
		expectRows(t, c, "changed", "k: other "+uuid+"other a=2")
		expectRows(t, c, "same", "k: v "+uuid+"x a=1")
	})
}

func TestHandlerErrorIsTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := process(t, handled(func(msg *message.Message) ([]*message.Message, error) {
			switch string(msg.Payload) {
			case "fails":
				return []*message.Message{msg}, errOops
			case "nil":
				return []*message.Message{msg, nil}, nil
			case "panics":
				panic(errOops)
			}
			return []*message.Message{msg}, nil
		}, pipeline.OnError(pipeline.ToDeadLetter)),
			in("1", "fails"), in("2", "fine"), in("3", "nil"), in("4", "panics"))
		expectRows(t, c, "out", "k: fine "+uuid+"2")
		var letters []string
		for _, l := range c.DeadLetters("dlq") {
			letters = append(letters, string(l.Value))
		}
		if !slices.Equal(letters, []string{"fails", "nil", "panics"}) {
			t.Errorf("dead letters %q", letters)
		}
	})
}

// The context says where the message stands, ends with the handler, and takes along what
// is made from it.
func TestHandlerContext(t *testing.T) {
	var kept []context.CancelFunc // never called: the contexts end with their parents
	child := func(ctx context.Context, cancel context.CancelFunc) context.Context {
		kept = append(kept, cancel)
		return ctx
	}
	for name, look := range map[string]func(context.Context) context.Context{
		"itself":  func(ctx context.Context) context.Context { return ctx },
		"a child": func(ctx context.Context) context.Context { return child(context.WithCancel(ctx)) },
		"timed":   func(ctx context.Context) context.Context { return child(context.WithTimeout(ctx, time.Hour)) },
		"a value": func(ctx context.Context) context.Context { return context.WithValue(ctx, name{}, 1) },
		"two deep": func(ctx context.Context) context.Context {
			return child(context.WithCancel(child(context.WithCancel(ctx))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen context.Context
				var handledMessage *message.Message
				task, err := handled(func(msg *message.Message) ([]*message.Message, error) {
					handledMessage, seen = msg, look(msg.Context())
					if seen.Err() != nil {
						t.Error("it has ended before the handler returned")
					}
					partition, ok := watermill.MessagePartitionFromCtx(seen)
					offset, _ := watermill.MessagePartitionOffsetFromCtx(seen)
					if key, _ := watermill.MessageKeyFromCtx(seen); !ok || partition != 2 || offset != 7 || string(key) != "k" {
						t.Errorf("%v, partition %d, offset %d, key %s", ok, partition, offset, key)
					}
					if seen.Value(outer{}) != "outer" {
						t.Error("it lacks a value of the chain's")
					}
					return nil, nil
				}).Compile(pipeline.Partition{Topic: "in", Partition: 2}, pipeline.TaskConfig{})
				noError(t, err, "compile")
				chain, cancel := context.WithCancel(context.WithValue(t.Context(), outer{}, "outer"))
				defer cancel() // not before the handler's is looked at
				r := pipeline.Raw{Key: []byte("k"), Value: []byte("v"), Origin: pipeline.Origin{Topic: "in", Partition: 2, Offset: 7}}
				noError(t, task.Process(chain, &r), "process")
				synctest.Wait()
				select {
				case <-seen.Done():
				default:
					t.Error("it has not ended with the handler")
				}
				if chain.Err() != nil || seen.Err() != context.Canceled {
					t.Errorf("it has ended with %v", seen.Err())
				}
				select {
				case <-handledMessage.Acked():
				default:
					t.Error("the message is not acknowledged")
				}
			})
		})
	}
}

type (
	name  struct{}
	outer struct{}
)

func TestHandlerOptionsAreHandlers(t *testing.T) {
	p := pipeline.New("test")
	s := stages.Filter(pipeline.From(p, "in", watermill.Messages()), "filter", func(*message.Message) bool { return true },
		watermill.Middleware())
	pipeline.To(s, "out", watermill.Messages())
	says(t, p.Validate(), "watermill.Middleware is an option of watermill.Handler")
	says(t, handled(nil, watermill.Middleware(nil), watermill.Publishing(&watermill.Outbox{})).Validate(),
		"the handler is nil", "number 0 is nil", "an Outbox without Topics")
}

// Whatever goes wrong, every message has its outputs once, those that the handler has
// published among them.
func TestHandlerExactlyOnce(t *testing.T) {
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: func() *pipeline.Pipeline {
			outbox := &watermill.Outbox{Topics: []string{"audit"}}
			return handled(func(msg *message.Message) ([]*message.Message, error) {
				note := message.NewMessage("note-"+msg.UUID, msg.Payload)
				note.SetContext(msg.Context())
				if err := outbox.Publish("audit", note); err != nil {
					return nil, err
				}
				return []*message.Message{msg, msg.Copy()}, nil
			}, watermill.Publishing(outbox))
		},
		Feed: func(c *pipelinetest.Cluster) {
			for i := range 20 {
				c.Feed("in", in(fmt.Sprint(i), fmt.Sprint(i)).On(int32(i%2)))
			}
		},
	})
}

func TestHandlerAllocations(t *testing.T) {
	p := handled(func(msg *message.Message) ([]*message.Message, error) { return []*message.Message{msg}, nil })
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	noError(t, err, "compile")
	record := pipeline.Raw{Key: []byte("k"), Value: make([]byte, 200), Headers: headersOf(uuid+"0123456789", "a=1"), Origin: pipeline.Origin{Topic: "in"}}
	n := testing.AllocsPerRun(1000, func() {
		noError(t, task.Process(t.Context(), &record), "process")
		task.Clear()
	})
	if n > 16 {
		t.Errorf("%v allocations a record", n)
	}
	t.Logf("%v allocations a record", n)
}

func BenchmarkHandler(b *testing.B) {
	passes := func(msg *message.Message) ([]*message.Message, error) { return []*message.Message{msg}, nil }
	ofBytes := pipeline.New("test")
	pipeline.To(watermill.Handler(pipeline.From(ofBytes, "in", serde.Bytes()), "handler", passes), "out", watermill.Messages())
	for name, p := range map[string]*pipeline.Pipeline{"messages": handled(passes), "bytes": ofBytes} {
		b.Run(name, func(b *testing.B) {
			task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
			noError(b, err, "compile")
			record := pipeline.Raw{Key: []byte("k"), Value: make([]byte, 200), Headers: headersOf(uuid+"0123456789", "a=1"), Origin: pipeline.Origin{Topic: "in"}}
			b.ReportAllocs()
			for b.Loop() {
				noError(b, task.Process(b.Context(), &record), "process")
				task.Clear()
			}
		})
	}
}
