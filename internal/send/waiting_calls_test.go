package send

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
)

// A call ends in its caller's time, also if it waits behind what is tried again and again:
// partitions of a topic that was deleted cannot be added to a transaction, in version 1 by
// the coordinator's request, in version 2 by a batch.
func TestCallsThatWaitEndInTime(t *testing.T) {
	for _, x := range []struct {
		name    string
		key     kmsg.Key
		without rule
	}{
		{"version 1", kmsg.AddPartitionsToTxn, ruleEpochEach}, {"version 2", kmsg.Produce, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := start(t, 1, embedded.Topic{Name: "out"})
			asked := make(chan struct{}, 1000)
			c.Fake().ControlKey(int16(x.key), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.Fake().KeepControl()
				select {
				case asked <- struct{}{}:
				default:
				}
				return refuses(r, kerr.UnknownTopicOrPartition.Code), nil, true
			})
			cfg := testConfig(c.Brokers())
			cfg.TransactionalID, cfg.without = "tx", x.without
			p := connect(t, cfg, &plan{})
			if err := p.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
			send(t, p, "out", &outcomes{}, "for a topic that was deleted")
			await(t, asked)
			const patience = 200 * time.Millisecond
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			err := within(t, "SendOffsets", patience, func() error { return sendOffset(ctx, p, 1) })
			if !errors.Is(err, ErrAbortable) {
				t.Errorf("SendOffsets returned %v", err)
			}
			if err := within(t, "Abort", 0, func() error { return p.Abort(t.Context()) }); err != nil {
				t.Error(err)
			}
			if err := p.Begin(t.Context()); err != nil { // it is of use still
				t.Error(err)
			}
		})
	}
}

func await(t *testing.T, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("the request did not come")
	}
}

// refuses answers for all partitions with a code.
func refuses(r kmsg.Request, code int16) kmsg.Response {
	if r, ok := r.(*kmsg.ProduceRequest); ok {
		resp := r.ResponseKind().(*kmsg.ProduceResponse)
		for _, t := range r.Topics {
			rt := kmsg.NewProduceResponseTopic()
			rt.Topic = t.Topic
			for _, p := range t.Partitions {
				rp := kmsg.NewProduceResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	}
	req := r.(*kmsg.AddPartitionsToTxnRequest)
	resp := req.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewAddPartitionsToTxnResponseTopic()
		rt.Topic = t.Topic
		for _, n := range t.Partitions {
			rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			rp.Partition, rp.ErrorCode = n, code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
