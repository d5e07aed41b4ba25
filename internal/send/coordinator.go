package send

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/internal/wire"
)

// coordinators are the connections to the transaction's coordinator and the
// group's. One call at a time uses them.
type coordinators struct {
	mu     sync.Mutex
	txn    *wire.Conn
	group  *wire.Conn
	name   string // of the group that group is for
	cancel context.CancelFunc
}

func (c *coordinators) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range []*wire.Conn{c.txn, c.group} {
		if w != nil {
			w.Close()
		}
	}
	c.txn, c.group = nil, nil
}

func (k *kafka) call(c *call) {
	ctx, cancel := context.WithCancel(k.ctx)
	k.coordinator.mu.Lock()
	k.coordinator.cancel = cancel
	k.coordinator.mu.Unlock()
	k.work.Go(func() {
		defer cancel()
		a, err := k.makeCall(ctx, c)
		k.loop.post(func(now time.Time) { k.loop.m.called(c, a, err, now) })
	})
}

func (k *kafka) dropCall(*call) {
	k.coordinator.mu.Lock()
	defer k.coordinator.mu.Unlock()
	if k.coordinator.cancel != nil {
		k.coordinator.cancel()
	}
}

func (k *kafka) makeCall(ctx context.Context, c *call) (a answer, err error) {
	if (c.kind == callInit || c.kind == callBump) && k.cfg.TransactionalID == "" {
		var mu sync.Mutex
		got := false
		err = k.anyBroker(ctx, func(b *sarama.Broker) error {
			x, err := k.request(b, c)
			if err == nil {
				mu.Lock()
				a, got = x, true
				mu.Unlock()
			}
			return err
		})
		mu.Lock()
		defer mu.Unlock()
		if got {
			err = nil
		}
		return a, err
	}
	w, err := k.coordinatorOf(ctx, c)
	if err != nil {
		return a, err
	}
	err = w.Ask(ctx, func(b *sarama.Broker) (err error) {
		a, err = k.request(b, c)
		return err
	})
	if err != nil {
		k.forget(c)
	}
	return a, err
}

// coordinatorOf returns the connection to the coordinator of a call, found anew if
// there is none or it was said to be another.
func (k *kafka) coordinatorOf(ctx context.Context, c *call) (*wire.Conn, error) {
	if c.rediscover {
		k.forget(c)
	}
	k.coordinator.mu.Lock()
	w := k.coordinator.txn
	if c.kind == callCommit {
		w = k.coordinator.group
		if k.coordinator.name != c.group.Group {
			w = nil
		}
	}
	k.coordinator.mu.Unlock()
	if w != nil {
		return w, nil
	}
	key, kind := k.cfg.TransactionalID, sarama.CoordinatorTransaction
	if c.kind == callCommit {
		key, kind = c.group.Group, sarama.CoordinatorGroup
	}
	addr, err := k.findCoordinator(ctx, key, kind)
	if err != nil {
		return nil, err
	}
	if w, err = k.wire.Open(ctx, addr); err != nil {
		return nil, err
	}
	k.coordinator.mu.Lock()
	defer k.coordinator.mu.Unlock()
	if c.kind == callCommit {
		k.coordinator.group, k.coordinator.name = w, c.group.Group
	} else {
		k.coordinator.txn = w
	}
	return w, nil
}

// forget drops the connection to a call's coordinator.
func (k *kafka) forget(c *call) {
	k.coordinator.mu.Lock()
	slot := &k.coordinator.txn
	if c.kind == callCommit {
		slot = &k.coordinator.group
	}
	w := *slot
	*slot = nil
	k.coordinator.mu.Unlock()
	if w != nil {
		w.Close()
	}
}

func (k *kafka) findCoordinator(ctx context.Context, key string, kind sarama.CoordinatorType) (string, error) {
	var mu sync.Mutex
	addr := ""
	err := k.anyBroker(ctx, func(b *sarama.Broker) error {
		res, err := b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: 2, CoordinatorKey: key, CoordinatorType: kind})
		switch {
		case err != nil:
			return err
		case res.Err != sarama.ErrNoError:
			return k.denied(res.Err, key)
		}
		mu.Lock()
		addr = res.Coordinator.Addr()
		mu.Unlock()
		return nil
	})
	mu.Lock()
	defer mu.Unlock()
	if addr != "" {
		return addr, nil
	}
	return "", err
}

// request makes a call on a connection. Its error says nothing about what the
// broker did.
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
				if p.Err == sarama.ErrNoError {
					continue
				}
				a.code, a.why = p.Err, k.denied(p.Err, c.group.Group)
				if p.Err == sarama.ErrTopicAuthorizationFailed { // positions of a topic are for its readers
					a.why = secure.Denied(p.Err, secure.Read, secure.Topic, topic)
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
