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

// A call ends in its caller's time, also if it waits behind one that is tried again and
// again: partitions of a topic that was deleted cannot be added to a transaction.
func TestCallsThatWaitEndInTime(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "out"})
	asked := make(chan struct{}, 1000)
	c.Fake().ControlKey(int16(kmsg.AddPartitionsToTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		select {
		case asked <- struct{}{}:
		default:
		}
		return refusesAll(r.(*kmsg.AddPartitionsToTxnRequest)), nil, true
	})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID = "tx"
	p := connect(t, cfg, &plan{})
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, p, "out", &outcomes{}, "for a topic that was deleted")
	<-asked
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
}

func refusesAll(r *kmsg.AddPartitionsToTxnRequest) *kmsg.AddPartitionsToTxnResponse {
	resp := r.ResponseKind().(*kmsg.AddPartitionsToTxnResponse)
	for _, t := range r.Topics {
		rt := kmsg.NewAddPartitionsToTxnResponseTopic()
		rt.Topic = t.Topic
		for _, n := range t.Partitions {
			rp := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			rp.Partition, rp.ErrorCode = n, kerr.UnknownTopicOrPartition.Code
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
