package send

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
)

// An independent implementation of the protocol reads the requests of transaction
// version 2, and its answers are understood.
func TestVersion2EndTxn(t *testing.T) {
	for _, commit := range []bool{true, false} {
		req := kmsg.NewPtrEndTxnRequest()
		req.SetVersion(endTxnVersion)
		if err := req.ReadFrom(appendEndTxn(nil, "tx", &call{pid: 77, epoch: 3, commit: commit})); err != nil {
			t.Fatal(err)
		}
		if req.Key() != apiEndTxn || req.TransactionalID != "tx" || req.ProducerID != 77 || req.ProducerEpoch != 3 || req.Commit != commit {
			t.Errorf("got %+v", req)
		}
	}
	res := kmsg.NewPtrEndTxnResponse()
	res.SetVersion(endTxnVersion)
	res.ErrorCode, res.ProducerID, res.ProducerEpoch = 90, 78, 4
	wire := res.AppendTo(nil)
	if a, err := decodeEndTxn(wire); err != nil || a != (answer{code: sarama.ErrProducerFenced, pid: 78, epoch: 4}) {
		t.Errorf("got %+v, %v", a, err)
	}
	for n := range wire {
		if _, err := decodeEndTxn(wire[:n]); !errors.Is(err, errAnswer) {
			t.Errorf("the first %d of %d bytes were taken", n, len(wire))
		}
	}
}

func TestVersion2TxnOffsetCommit(t *testing.T) {
	at := func(topic string, partition int32, next int64) pipeline.Offset {
		return pipeline.Offset{Partition: pipeline.Partition{Topic: topic, Partition: partition}, Next: next}
	}
	for _, instance := range []string{"", "w1"} {
		c := &call{
			pid: 77, epoch: 3, group: pipeline.GroupMetadata{Group: "g", Generation: 5, Member: "m", Instance: instance},
			offsets: []pipeline.Offset{at("b", 1, 10), at("a", 2, 20), at("b", 0, 30)},
		}
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.SetVersion(txnOffsetCommitVersion)
		if err := req.ReadFrom(appendTxnOffsetCommit(nil, "tx", c)); err != nil {
			t.Fatal(err)
		}
		if req.Key() != apiTxnOffsetCommit || req.TransactionalID != "tx" || req.Group != "g" || req.ProducerID != 77 || req.ProducerEpoch != 3 ||
			req.Generation != 5 || req.MemberID != "m" || (req.InstanceID == nil) != (instance == "") || instance != "" && *req.InstanceID != instance {
			t.Errorf("got %+v", req)
		}
		var got []pipeline.Offset
		for _, topic := range req.Topics {
			for _, p := range topic.Partitions {
				got = append(got, at(topic.Topic, p.Partition, p.Offset))
				if p.LeaderEpoch != -1 || p.Metadata == nil || *p.Metadata != "" {
					t.Errorf("got %+v", p)
				}
			}
		}
		if want := []pipeline.Offset{at("a", 2, 20), at("b", 1, 10), at("b", 0, 30)}; len(req.Topics) != 2 || !slices.Equal(got, want) {
			t.Errorf("%d topics, %v; want %v", len(req.Topics), got, want)
		}
	}
	res := kmsg.NewPtrTxnOffsetCommitResponse()
	res.SetVersion(txnOffsetCommitVersion)
	for _, topic := range []string{"a", "b"} {
		rt := kmsg.NewTxnOffsetCommitResponseTopic()
		rt.Topic = topic
		for p := range int32(2) {
			rp := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			rp.Partition = p
			if topic == "b" && p == 0 {
				rp.ErrorCode = 22
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	wire := res.AppendTo(nil)
	if code, topic, err := decodeTxnOffsetCommit(wire); code != sarama.ErrIllegalGeneration || topic != "b" || err != nil {
		t.Errorf("got %v, %q, %v", code, topic, err)
	}
	for n := range wire {
		if _, _, err := decodeTxnOffsetCommit(wire[:n]); !errors.Is(err, errAnswer) {
			t.Errorf("the first %d of %d bytes were taken", n, len(wire))
		}
	}
}

// Where the cluster has version 2, the coordinator is told of no partition and no group.
func TestVersion2IsUsed(t *testing.T) {
	for name, without := range map[string]rule{"version 1": ruleEpochEach, "version 2": 0} {
		t.Run(name, func(t *testing.T) {
			c := start(t, 1, embedded.Topic{Name: "out"}, embedded.Topic{Name: "in"})
			var added atomic.Int64
			for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.AddOffsetsToTxn} {
				c.Fake().ControlKey(int16(key), func(kmsg.Request) (kmsg.Response, error, bool) {
					c.Fake().KeepControl()
					added.Add(1)
					return nil, nil, false
				})
			}
			cfg := testConfig(c.Brokers())
			cfg.TransactionalID, cfg.without = "tx", without
			p := connect(t, cfg, &plan{})
			for i := range int64(3) {
				if err := p.Begin(t.Context()); err != nil {
					t.Fatal(err)
				}
				send(t, p, "out", &outcomes{}, "v")
				if err := sendOffset(t.Context(), p, i+1); err != nil {
					t.Fatal(err)
				}
				if err := p.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			if n := added.Load(); (n > 0) != (without != 0) {
				t.Errorf("the coordinator was told %d times", n)
			}
		})
	}
}

// A batch that meets the markers of the transaction before does not wait for as long as
// after a failure.
func TestABatchThatMeetsMarkersIsSentAgainSoon(t *testing.T) {
	c := start(t, 1, embedded.Topic{Name: "out"})
	var refused atomic.Int64
	c.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().KeepControl()
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		return refuses(r, kerr.ConcurrentTransactions.Code), nil, true
	})
	cfg := testConfig(c.Brokers())
	cfg.TransactionalID, cfg.RetryBackoff, cfg.RetryBackoffMax = "tx", 20*time.Second, 20*time.Second
	p := connect(t, cfg, &plan{})
	if err := p.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	send(t, p, "out", &outcomes{}, "v")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if n := refused.Load(); n != 4 {
		t.Errorf("%d attempts, want 4", n)
	}
}

func FuzzDecodeVersion2(f *testing.F) {
	end := kmsg.NewPtrEndTxnResponse()
	end.SetVersion(endTxnVersion)
	f.Add(end.AppendTo(nil))
	f.Add([]byte{0, 0, 0, 0, 2, 2, 'a', 2, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, p []byte) {
		_, _ = decodeEndTxn(p)
		_, _, _ = decodeTxnOffsetCommit(p)
	})
}
