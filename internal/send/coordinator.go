package send

import (
	"context"
	"sync"
	"time"

	"github.com/IBM/sarama"

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
	if a, err = k.ask(ctx, w, c); err != nil {
		k.forget(c)
	}
	return a, err
}

// ask makes a call on a connection to its coordinator.
func (k *kafka) ask(ctx context.Context, w *wire.Conn, c *call) (a answer, err error) {
	if c.v2 {
		return k.request2(ctx, w, c)
	}
	var f wire.Feature
	if c.kind == callInit || c.kind == callBump {
		if f, err = w.Feature(ctx, wire.TransactionVersion); err != nil {
			return a, err
		}
	}
	err = w.Ask(ctx, func(b *sarama.Broker) (err error) {
		a, err = k.request(b, c)
		return err
	})
	a.v2 = f.Level >= transactionVersion2
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
