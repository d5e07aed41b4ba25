package watermill

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/pipeline"
)

// Middleware puts Watermill's middleware around a [Handler], the first outermost. They
// are made once and shared by all partitions, as in a Router.
//
// Those that break when a record is handled again after an aborted transaction are
// refused, by Validate, with the reason: middleware.Deduplicator, which would take the
// record for one that was done, and drop its outputs, and middleware.InstantAck, since
// nothing is acknowledged before the transaction is committed. They are known by their
// functions' names: one that is wrapped in another function is not recognized. A message
// that is acknowledged before its handler runs fails with [ErrAcknowledgedEarly], whoever
// does that.
//
// What middleware publish goes by their publisher: an [Outbox] joins the transaction.
func Middleware(middleware ...message.HandlerMiddleware) pipeline.StageOption {
	return handlerOption{onlyHandler("Middleware"), func(c *handlerConfig) {
		for i, m := range middleware {
			if m == nil {
				c.mistake("watermill.Middleware: number %d is nil", i)
				continue
			}
			if name, why := refused(m); why != "" {
				c.mistake("watermill.Middleware: %s is refused: %s", name, why)
				continue
			}
			c.middleware = append(c.middleware, m)
		}
	}}
}

// ErrAcknowledgedEarly says that a middleware has acknowledged a message before the
// handler ran.
var ErrAcknowledgedEarly = errors.New("a middleware has acknowledged the message before it was handled; in a pipeline that is done by the commit, leave the middleware out")

const middlewarePackage = "github.com/ThreeDotsLabs/watermill/message/router/middleware."

// breaksUnderReplay are middleware that must not be used, with the reasons.
var breaksUnderReplay = map[string]string{
	"(*Deduplicator).Middleware": "a record that is handled again, after its transaction was aborted, would count as a duplicate and its outputs would be lost; exactly once needs no deduplication of what the pipeline itself repeats",
	"InstantAck":                 "it acknowledges before the message is handled; a pipeline commits a record with its outputs, and neither without the other",
}

// refused returns the name of a middleware, and why it must not be used, if so.
func refused(m message.HandlerMiddleware) (name, why string) {
	f := runtime.FuncForPC(reflect.ValueOf(m).Pointer())
	if f == nil {
		return "", ""
	}
	// "-fm" marks the value of a method.
	name = strings.TrimSuffix(strings.TrimPrefix(f.Name(), middlewarePackage), "-fm")
	return "middleware." + name, breaksUnderReplay[name]
}

// handlerOption is an option of Handler only: given to another stage it is a mistake.
type handlerOption struct {
	pipeline.StageOption
	apply func(*handlerConfig)
}

func onlyHandler(name string) pipeline.StageOption {
	return pipeline.Invalid(fmt.Errorf("watermill.%s is an option of watermill.Handler", name))
}

// handlerConfig is what a Handler's options say.
type handlerConfig struct {
	middleware []message.HandlerMiddleware
	outbox     *Outbox
	mistakes   []error
	others     []pipeline.StageOption
}

func (c *handlerConfig) mistake(format string, args ...any) {
	c.mistakes = append(c.mistakes, fmt.Errorf(format, args...))
}

func handlerOptions(opts []pipeline.StageOption) *handlerConfig {
	c := new(handlerConfig)
	for _, o := range opts {
		if h, ok := o.(handlerOption); ok {
			h.apply(c)
		} else {
			c.others = append(c.others, o)
		}
	}
	return c
}

// stageOptions are those of the stage itself.
func (c *handlerConfig) stageOptions() []pipeline.StageOption {
	if err := errors.Join(c.mistakes...); err != nil {
		return append(c.others, pipeline.Invalid(err))
	}
	return c.others
}
