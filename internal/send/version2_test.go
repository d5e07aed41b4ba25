package send

import (
	"errors"
	"slices"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kmsg"

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
