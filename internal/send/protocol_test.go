package send

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/recordbatch"
)

func protocolBatches() []*batch {
	var all []*batch
	for i, topic := range []string{"b", "a", "b", "a", "a"} {
		b := &batch{part: &partition{topic: topic, id: int32(i)}, pid: 77, epoch: 3, seq: int32(1000 + i)}
		b.append(&Record{Key: []byte{byte(i)}, Value: bytes.Repeat([]byte("v"), 10*i+1), Timestamp: simStart}, 1000)
		all = append(all, b)
	}
	return all
}

// An independent implementation of the protocol reads what we write, in all
// versions, and we read what it writes.
func TestAnIndependentProtocolAgrees(t *testing.T) {
	for _, version := range []int16{produceOld, produceNew, produceJoins} {
		for _, id := range []string{"", "tx"} {
			e := &encoder{
				version: version, clientID: "me", transactional: id, acks: sarama.WaitForAll, timeout: 1500 * time.Millisecond, codec: recordbatch.None,
			}
			batches := byTopic(protocolBatches())
			for range 2 { // the second time with the buffer of the first
				readRequest(t, e, batches)
			}
			readResponse(t, version, batches)
		}
	}
}

func readRequest(t *testing.T, e *encoder, batches []*batch) {
	t.Helper()
	var wire []byte
	for _, p := range e.encode(42, batches, func(b *batch) []byte { return b.body.Bytes() }) {
		wire = append(wire, p...)
	}
	r := kbin.Reader{Src: wire}
	if n := r.Int32(); int(n) != len(wire)-4 {
		t.Fatalf("the request says that it has %d bytes, and has %d", n, len(wire)-4)
	}
	if key, version, correlation, client := r.Int16(), r.Int16(), r.Int32(), r.NullableString(); key != 0 || version != e.version || correlation != 42 || *client != "me" {
		t.Fatalf("header: key %d, version %d, correlation %d, client %q", key, version, correlation, *client)
	}
	if e.version >= 9 {
		kmsg.SkipTags(&r)
	}
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(e.version)
	if err := req.ReadFrom(r.Src); err != nil {
		t.Fatal(err)
	}
	if got := req.TransactionID; (got == nil) != (e.transactional == "") || got != nil && *got != e.transactional {
		t.Errorf("transactional id %v, want %q", got, e.transactional)
	}
	if req.Acks != -1 || req.TimeoutMillis != 1500 || len(req.Topics) != 2 {
		t.Fatalf("got %+v", req)
	}
	i := 0
	for _, topic := range req.Topics {
		for _, p := range topic.Partitions {
			b := batches[i]
			i++
			var rb kmsg.RecordBatch
			if err := rb.ReadFrom(p.Records); err != nil {
				t.Fatal(err)
			}
			if topic.Topic != b.part.topic || p.Partition != b.part.id || rb.FirstSequence != b.seq || rb.ProducerID != b.pid ||
				rb.ProducerEpoch != b.epoch || !bytes.Equal(rb.Records, b.body.Bytes()) || rb.Attributes&16 != 0 != (e.transactional != "") {
				t.Errorf("batch %d of %s[%d] is %+v", i, topic.Topic, p.Partition, rb)
			}
		}
	}
	if i != len(batches) {
		t.Errorf("%d batches, want %d", i, len(batches))
	}
}

func response(version int16, batches []*batch) []byte {
	resp := kmsg.NewPtrProduceResponse()
	resp.SetVersion(version)
	resp.ThrottleMillis = 250
	for i, b := range batches {
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != b.part.topic {
			topic := kmsg.NewProduceResponseTopic()
			topic.Topic = b.part.topic
			resp.Topics = append(resp.Topics, topic)
		}
		p := kmsg.NewProduceResponseTopicPartition()
		p.Partition, p.BaseOffset, p.LogAppendTime = b.part.id, int64(100+i), -1
		if i == 1 {
			why := "not any more"
			p.ErrorCode, p.ErrorMessage = int16(sarama.ErrNotLeaderForPartition), &why
			p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = 5, 9
		}
		if i == 2 {
			p.LogAppendTime = 1234
			bad := kmsg.NewProduceResponseTopicPartitionErrorRecord()
			bad.RelativeOffset = 1
			p.ErrorRecords = append(p.ErrorRecords, bad)
		}
		last := &resp.Topics[len(resp.Topics)-1]
		last.Partitions = append(last.Partitions, p)
	}
	wire := binary.BigEndian.AppendUint32(nil, 42)
	if version >= 9 {
		wire = append(wire, 0)
	}
	return resp.AppendTo(wire)
}

func readResponse(t *testing.T, version int16, batches []*batch) {
	t.Helper()
	wire := response(version, batches)
	got, throttle, err := decodeProduced(wire, version, 42, batches)
	if err != nil {
		t.Fatal(err)
	}
	for i := range batches {
		want := result{offset: int64(100 + i), leader: -1}
		if i == 1 {
			want.code, want.message = sarama.ErrNotLeaderForPartition, "not any more"
			if version >= 10 {
				want.leader, want.leaderEpoch = 5, 9
			}
		} else if version >= 10 {
			got[i].leader, got[i].leaderEpoch = -1, 0 // kmsg always writes its default
		}
		if i == 2 {
			want.appended = time.UnixMilli(1234)
		}
		if got[i] != want {
			t.Errorf("version %d, batch %d: %+v, want %+v", version, i, got[i], want)
		}
	}
	if throttle != 250*time.Millisecond {
		t.Errorf("throttle time %v", throttle)
	}
	if _, _, err := decodeProduced(wire, version, 43, batches); err == nil {
		t.Error("an answer to another request was taken")
	}
	for n := range wire {
		if _, _, err := decodeProduced(wire[:n], version, 42, batches); err == nil {
			t.Errorf("the first %d of %d bytes were taken", n, len(wire))
		}
	}
	// A partition that the answer leaves out has no definite outcome.
	more := append(slices.Clone(batches), &batch{part: &partition{topic: "c"}})
	if got, _, err := decodeProduced(wire, version, 42, more); err != nil || got[len(batches)].code != sarama.ErrNetworkException {
		t.Errorf("a partition without an answer: %+v, %v", got[len(batches)], err)
	}
}

func FuzzDecodeProduced(f *testing.F) {
	batches := byTopic(protocolBatches())
	for _, version := range []int16{produceOld, produceNew} {
		f.Add(response(version, batches), version)
	}
	f.Fuzz(func(t *testing.T, wire []byte, version int16) {
		results, _, err := decodeProduced(wire, version, 42, batches)
		if err == nil && len(results) != len(batches) {
			t.Errorf("%d results for %d batches", len(results), len(batches))
		}
	})
}

func TestProduceVersion(t *testing.T) {
	for _, x := range []struct {
		most  int16
		joins bool
		want  int16
	}{
		{7, false, 0}, {8, false, 8}, {9, false, 8}, {10, false, 10}, {13, false, 10},
		{11, true, 0}, {12, true, 12}, {13, true, 12},
	} {
		got, err := produceVersion(x.most, x.joins)
		if got != x.want || (err != nil) != (x.want == 0) {
			t.Errorf("up to %d, joins %v: %d, %v, want %d", x.most, x.joins, got, err, x.want)
		}
	}
}
