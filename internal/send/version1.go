package send

import (
	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
)

// request makes a call on a connection, in transaction version 1: by sarama. Its error
// says nothing about what the broker did.
func (k *kafka) request(b *sarama.Broker, c *call) (a answer, err error) {
	id := k.cfg.TransactionalID
	switch c.kind {
	case callInit, callBump:
		req := &sarama.InitProducerIDRequest{Version: 4, ProducerID: c.pid, ProducerEpoch: c.epoch, TransactionTimeout: k.cfg.TransactionTimeout}
		if id != "" {
			req.TransactionalID = &id
		}
		res, err := b.InitProducerID(req)
		if err != nil {
			return a, err
		}
		return answer{code: res.Err, why: k.denied(res.Err, ""), pid: res.ProducerID, epoch: res.ProducerEpoch}, nil
	case callAdd:
		res, err := b.AddPartitionsToTxn(&sarama.AddPartitionsToTxnRequest{
			Version: 3, TransactionalID: id, ProducerID: c.pid, ProducerEpoch: c.epoch, TopicPartitions: c.partitions,
		})
		if err != nil {
			return a, err
		}
		for topic, parts := range res.Errors {
			for _, p := range parts {
				if p.Err != sarama.ErrNoError && (a.code == sarama.ErrNoError || a.code == sarama.ErrOperationNotAttempted) {
					a.code, a.why = p.Err, k.denied(p.Err, topic)
				}
			}
		}
		return a, nil
	case callOffsets:
		res, err := b.AddOffsetsToTxn(&sarama.AddOffsetsToTxnRequest{
			Version: 3, TransactionalID: id, ProducerID: c.pid, ProducerEpoch: c.epoch, GroupID: c.group.Group,
		})
		if err != nil {
			return a, err
		}
		return answer{code: res.Err, why: k.denied(res.Err, c.group.Group)}, nil
	case callCommit:
		res, err := b.TxnOffsetCommit(k.offsetCommit(c))
		if err != nil {
			return a, err
		}
		for topic, parts := range res.Topics {
			for _, p := range parts {
				if p.Err != sarama.ErrNoError {
					a = k.notCommitted(c, p.Err, topic)
				}
			}
		}
		return a, nil
	default:
		res, err := b.EndTxn(&sarama.EndTxnRequest{
			Version: 3, TransactionalID: id, ProducerID: c.pid, ProducerEpoch: c.epoch, TransactionResult: c.commit,
		})
		if err != nil {
			return a, err
		}
		return answer{code: res.Err, why: k.denied(res.Err, "")}, nil
	}
}

// notCommitted is the answer to a TxnOffsetCommit that was refused for a topic.
func (k *kafka) notCommitted(c *call, code sarama.KError, topic string) answer {
	if code == sarama.ErrTopicAuthorizationFailed { // positions of a topic are for its readers
		return answer{code: code, why: secure.Denied(code, secure.Read, secure.Topic, topic)}
	}
	return answer{code: code, why: k.denied(code, c.group.Group)}
}

// denied is a broker's answer about a topic or group, with the right that is missing if
// it is for that; nil for no error.
func (k *kafka) denied(code sarama.KError, name string) error {
	switch code {
	case sarama.ErrNoError:
		return nil
	case sarama.ErrTransactionalIDAuthorizationFailed:
		return secure.Denied(code, secure.Write, secure.TransactionalID, k.cfg.TransactionalID)
	case sarama.ErrClusterAuthorizationFailed:
		return secure.Denied(code, secure.IdempotentWrite, secure.Cluster, "")
	case sarama.ErrGroupAuthorizationFailed:
		return secure.Denied(code, secure.Read, secure.Group, name)
	case sarama.ErrTopicAuthorizationFailed:
		return secure.Denied(code, secure.Write, secure.Topic, name)
	}
	return code
}

func (k *kafka) offsetCommit(c *call) *sarama.TxnOffsetCommitRequest {
	req := &sarama.TxnOffsetCommitRequest{
		Version: 3, TransactionalID: k.cfg.TransactionalID, GroupID: c.group.Group, ProducerID: c.pid, ProducerEpoch: c.epoch,
		GenerationID: c.group.Generation, MemberID: c.group.Member, Topics: map[string][]*sarama.PartitionOffsetMetadata{},
	}
	if c.group.Instance != "" {
		req.GroupInstanceID = &c.group.Instance
	}
	for _, o := range c.offsets {
		req.Topics[o.Topic] = append(req.Topics[o.Topic], &sarama.PartitionOffsetMetadata{Partition: o.Partition.Partition, Offset: o.Next, LeaderEpoch: -1})
	}
	return req
}
