package kafka_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// What a broker answers, as its class.
func TestClassesOfBrokerErrors(t *testing.T) {
	t.Parallel()
	for code, want := range map[*kerr.Error]kafka.Class{
		kerr.NotEnoughReplicas:          kafka.Retriable,
		kerr.LeaderNotAvailable:         kafka.Retriable,
		kerr.RequestTimedOut:            kafka.Retriable,
		kerr.TopicAuthorizationFailed:   kafka.Fatal,
		kerr.ClusterAuthorizationFailed: kafka.Fatal,
		kerr.InvalidTopicException:      kafka.Fatal,
		kerr.PolicyViolation:            kafka.Fatal,
		kerr.MessageTooLarge:            kafka.RecordFault,
		kerr.InvalidRecord:              kafka.RecordFault,
		kerr.InvalidTimestamp:           kafka.RecordFault,
	} {
		t.Run(code.Message, func(t *testing.T) {
			t.Parallel()
			c := out(t, 1)
			c.refuse(code, always)
			p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{
				// An attempt that takes longer than its time-out has an error of its own.
				RequestTimeout: 5 * time.Second, DeliveryTimeout: 6 * time.Second, RetryBackoff: 5 * time.Millisecond,
			}})
			_, err := p.SendSync(t.Context(), record("key", "secret"))
			e, ok := errors.AsType[*kafka.DeliveryError](err)
			if !ok || e.Class != want || e.Code() != code.Code || e.Topic != "out" || e.Partition != 0 || e.Attempts < 1 {
				t.Fatalf("%+v, want class %v and code %d", e, want, code.Code)
			}
			if kafka.ClassOf(fmt.Errorf("wrapped: %w", err)) != want {
				t.Error("the wrapped error has another class")
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error has a payload: %v", err)
			}
		})
	}
}

// What the producer itself refuses.
func TestClassesOfRefusals(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	p := c.producer(kafka.ProducerSettings{MaxHeaders: 2, MaxHeaderBytes: 10, Producer: kafka.ProducerConfig{MaxRequestSize: 1000}})
	h := func(kv ...string) (h pipeline.Headers) {
		for i := 0; i < len(kv); i += 2 {
			h = append(h, pipeline.Header{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return h
	}
	for name, tt := range map[string]struct {
		change func(*kafka.Record)
		kind   error
		class  kafka.Class
		says   string
	}{
		"large":        {func(r *kafka.Record) { r.Value = make([]byte, 1000) }, pipeline.ErrTooLarge, kafka.RecordFault, "out[0]"},
		"ancient":      {func(r *kafka.Record) { r.Timestamp = time.UnixMilli(-5) }, kafka.ErrTimestamp, kafka.RecordFault, "1970"},
		"many headers": {func(r *kafka.Record) { r.Headers = h("a", "", "b", "", "c", "") }, kafka.ErrHeaders, kafka.RecordFault, "3 headers, more than MaxHeaders (2)"},
		"big headers":  {func(r *kafka.Record) { r.Headers = h("a", "123456", "b", "123") }, kafka.ErrHeaders, kafka.RecordFault, "11 bytes of headers, more than MaxHeaderBytes (10)"},
		"no topic":     {func(r *kafka.Record) { r.Topic = "none" }, pipeline.ErrMissingTopic, kafka.Fatal, "none"},
	} {
		r := record("a", "1")
		tt.change(&r)
		err := p.Send(t.Context(), r, func(kafka.Result, error) { t.Error("the callback of a record that was not taken") })
		wantError(t, err, tt.kind, tt.says)
		if e, ok := err.(*kafka.DeliveryError); !ok || e.Class != tt.class || e.Attempts != 0 || e.Code() != 0 && name != "no topic" {
			t.Errorf("%s: %+v", name, err)
		}
	}
	ok := record("a", "1")
	ok.Headers = h("a", "1234", "b", "1234")
	noError(t, p.Send(t.Context(), ok, nil), "send with headers at the limits")
	noError(t, p.Flush(t.Context()), "flush")
}

func TestClassOf(t *testing.T) {
	for err, want := range map[error]kafka.Class{
		context.Canceled:                        kafka.Retriable,
		kafka.ErrBufferFull:                     kafka.Retriable,
		kafka.ErrDeliveryTimeout:                kafka.Retriable,
		kafka.ErrAborted:                        kafka.Abortable,
		kafka.ErrClosed:                         kafka.Recoverable,
		kafka.ErrFenced:                         kafka.Recoverable,
		kafka.ErrUnknownOutcome:                 kafka.Recoverable,
		kafka.ErrTransaction:                    kafka.Fatal,
		kafka.ErrEncode:                         kafka.RecordFault,
		pipeline.Retriable(kafka.ErrEncode):     kafka.Retriable,
		pipeline.Fatal(kafka.ErrEncode):         kafka.Fatal,
		fmt.Errorf("x: %w", kafka.ErrPartition): kafka.RecordFault,
	} {
		if got := kafka.ClassOf(err); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}
