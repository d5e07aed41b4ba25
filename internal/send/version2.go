package send

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
)

// Transaction version 2 (KIP-890, Kafka 4.0) gives each transaction an epoch of its own,
// and has partitions added by their brokers. sarama does not have its requests: Produce 12
// is in protocol.go, these are the coordinators'.
const (
	transactionVersion2 = 2

	apiEndTxn, endTxnVersion                   = 26, 5
	apiTxnOffsetCommit, txnOffsetCommitVersion = 28, 5
)

var errAnswer = errors.New("malformed answer of a coordinator")

// request2 makes a call in transaction version 2. Its error says nothing about what the
// broker did.
func (k *kafka) request2(ctx context.Context, w *wire.Conn, c *call) (answer, error) {
	id := k.cfg.TransactionalID
	if c.kind == callCommit {
		p, err := w.Call(ctx, apiTxnOffsetCommit, txnOffsetCommitVersion, appendTxnOffsetCommit(nil, id, c))
		if err != nil {
			return answer{}, err
		}
		code, topic, err := decodeTxnOffsetCommit(p)
		if err != nil || code == sarama.ErrNoError {
			return answer{}, err
		}
		return k.notCommitted(c, code, topic), nil
	}
	p, err := w.Call(ctx, apiEndTxn, endTxnVersion, appendEndTxn(nil, id, c))
	if err != nil {
		return answer{}, err
	}
	a, err := decodeEndTxn(p)
	a.why = k.denied(a.code, "")
	return a, err
}

func appendEndTxn(p []byte, id string, c *call) []byte {
	p = appendCompact(p, id)
	p = binary.BigEndian.AppendUint64(p, uint64(c.pid))
	p = binary.BigEndian.AppendUint16(p, uint16(c.epoch))
	commit := byte(0)
	if c.commit {
		commit = 1
	}
	return append(p, commit, noTags)
}

func decodeEndTxn(p []byte) (a answer, err error) {
	d := decoder{p: p, flexible: true}
	d.int32() // throttle time
	a.code, a.pid, a.epoch = sarama.KError(d.int16()), d.int64(), d.int16()
	d.tags(nil)
	if d.bad {
		return answer{}, errAnswer
	}
	return a, nil
}

func appendTxnOffsetCommit(p []byte, id string, c *call) []byte {
	p = appendCompact(p, id)
	p = appendCompact(p, c.group.Group)
	p = binary.BigEndian.AppendUint64(p, uint64(c.pid))
	p = binary.BigEndian.AppendUint16(p, uint16(c.epoch))
	p = binary.BigEndian.AppendUint32(p, uint32(c.group.Generation))
	p = appendCompact(p, c.group.Member)
	if c.group.Instance == "" {
		p = append(p, 0) // null
	} else {
		p = appendCompact(p, c.group.Instance)
	}
	offsets := slices.SortedStableFunc(slices.Values(c.offsets), func(a, b pipeline.Offset) int { return cmp.Compare(a.Topic, b.Topic) })
	topics := 0
	for i, o := range offsets {
		if i == 0 || offsets[i-1].Topic != o.Topic {
			topics++
		}
	}
	p = appendLength(p, topics)
	for len(offsets) > 0 {
		topic := offsets[0].Topic
		n := slices.IndexFunc(offsets, func(o pipeline.Offset) bool { return o.Topic != topic })
		if n < 0 {
			n = len(offsets)
		}
		p = appendLength(appendCompact(p, topic), n)
		for _, o := range offsets[:n] {
			p = binary.BigEndian.AppendUint32(p, uint32(o.Partition.Partition))
			p = binary.BigEndian.AppendUint64(p, uint64(o.Next))
			p = binary.BigEndian.AppendUint32(p, 1<<32-1) // leader epoch: unknown
			p = append(appendCompact(p, ""), noTags)      // metadata
		}
		p = append(p, noTags)
		offsets = offsets[n:]
	}
	return append(p, noTags)
}

// decodeTxnOffsetCommit returns the last refusal, and for which topic.
func decodeTxnOffsetCommit(p []byte) (code sarama.KError, topic string, err error) {
	d := decoder{p: p, flexible: true}
	d.int32() // throttle time
	for range d.array() {
		name := d.string()
		for range d.array() {
			d.int32() // partition
			if x := sarama.KError(d.int16()); x != sarama.ErrNoError {
				code, topic = x, string(name)
			}
			d.tags(nil)
		}
		d.tags(nil)
	}
	d.tags(nil)
	if d.bad {
		return 0, "", errAnswer
	}
	return code, topic, nil
}

// noTags is an empty set of tagged fields.
const noTags = 0

// appendLength appends the length of a compact array.
func appendLength(p []byte, n int) []byte { return binary.AppendUvarint(p, uint64(n)+1) }

func appendCompact(p []byte, s string) []byte { return append(appendLength(p, len(s)), s...) }
