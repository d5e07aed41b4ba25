package send

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/wire"
)

// kafka is the machine's world on a real cluster.
type kafka struct {
	cfg  *Config
	loop *loop
	wire wire.Config

	ctx    context.Context // ends with the producer
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	addrs []string // of the brokers, as of the latest view

	coordinator coordinators
}

func newKafka(cfg *Config, l *loop, wrap func(net.Conn) net.Conn) *kafka {
	k := &kafka{cfg: cfg, loop: l, wire: wire.Config{
		Connection: cfg.Connection, MaxInFlight: cfg.MaxInFlight, RequestTimeout: cfg.RequestTimeout, DialTimeout: cfg.DialTimeout, Wrap: wrap,
	}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	return k
}

// close cuts everything and waits for it.
func (k *kafka) close() {
	k.cancel()
	k.work.Wait()
	k.coordinator.close()
}

// conn sends the requests of one node. AsyncProduce may block on a lock or a
// write, so that a goroutine does it.
type conn struct {
	requests chan *request
	released chan struct{} // closed by the machine: it sends nothing more here
	usable   context.Context
	cut      context.CancelFunc // ends usable, and the connection
}

func (k *kafka) produce(r *request) {
	c, ok := r.node.conn.(*conn)
	if !ok {
		c = &conn{requests: make(chan *request, k.cfg.MaxInFlight), released: make(chan struct{})}
		c.usable, c.cut = context.WithCancel(k.ctx)
		r.node.conn = c
		k.work.Go(func() { k.serve(c, r.node.addr) })
	}
	c.requests <- r // never more than MaxInFlight are under way
}

func (k *kafka) hangUp(n *node) {
	if c, ok := n.conn.(*conn); ok {
		c.cut()
		close(c.released)
	}
}

var errHungUp = errors.New("connection was given up")

// serve is the goroutine of one connection. The first error of any kind is its
// last: what was sent before may still be executed, so nothing may follow on it.
// It stays to refuse requests until the machine has released the connection.
func (k *kafka) serve(c *conn, addr string) {
	defer c.cut()
	w, err := k.wire.Open(c.usable, addr)
	if err == nil {
		stop := context.AfterFunc(c.usable, w.Cut)
		defer func() {
			stop()
			w.Close()
		}()
	}
	for {
		select {
		case r := <-c.requests:
			if err == nil && c.usable.Err() != nil {
				err = errHungUp
			}
			if err != nil {
				if !k.cfg.keeps(ruleReleased) {
					return
				}
				k.fail(r, err)
				continue
			}
			err = k.write(c, w, r)
		case <-c.released:
			for len(c.requests) > 0 {
				k.fail(<-c.requests, errHungUp)
			}
			return
		}
	}
}

func (k *kafka) fail(r *request, err error) {
	r.err = err
	k.loop.post(func(now time.Time) { k.loop.m.produced(r, now) })
}

// write sends a request and has its answer, or the lack of one, reported once.
func (k *kafka) write(c *conn, w *wire.Conn, r *request) error {
	req := k.produceRequest(r)
	var once sync.Once
	report := func(res *sarama.ProduceResponse, err error) {
		once.Do(func() {
			r.took = time.Since(r.sent)
			if err != nil {
				r.err = err
				c.cut()
			} else if res != nil {
				r.paused = res.ThrottleTime
				r.results = results(r.batches, res)
			}
			k.loop.post(func(now time.Time) { k.loop.m.produced(r, now) })
		})
	}
	if k.cfg.Acks == sarama.NoResponse {
		err := w.Broker().AsyncProduce(req, nil)
		report(nil, err)
		return err
	}
	late := time.AfterFunc(k.cfg.RequestTimeout, func() { report(nil, sarama.ErrRequestTimedOut) })
	err := w.Broker().AsyncProduce(req, func(res *sarama.ProduceResponse, err error) {
		late.Stop()
		report(res, err)
	})
	if err != nil {
		late.Stop()
		report(nil, err)
	}
	return err
}

func (k *kafka) produceRequest(r *request) *sarama.ProduceRequest {
	req := &sarama.ProduceRequest{
		Version: 10, RequiredAcks: k.cfg.Acks, Timeout: int32(k.cfg.RequestTimeout / time.Millisecond * 4 / 5),
	}
	if k.cfg.TransactionalID != "" {
		req.TransactionalID = &k.cfg.TransactionalID
	}
	for _, b := range r.batches {
		req.AddBatch(b.part.topic, b.part.id, b.wire)
	}
	return req
}

func results(batches []*batch, res *sarama.ProduceResponse) []result {
	out := make([]result, len(batches))
	for i, b := range batches {
		block := res.GetBlock(b.part.topic, b.part.id)
		if block == nil {
			out[i] = result{code: sarama.ErrNetworkException, offset: -1, leader: -1}
			continue
		}
		out[i] = result{code: block.Err, offset: block.Offset, leader: -1}
		if !block.Timestamp.IsZero() && block.Timestamp.UnixMilli() >= 0 {
			out[i].appended = block.Timestamp
		}
		if block.ErrorMessage != nil {
			out[i].message = *block.ErrorMessage
		}
		if h := block.CurrentLeader; h != nil {
			out[i].leader, out[i].leaderEpoch = h.LeaderID, h.LeaderEpoch
		}
	}
	return out
}

// anyBroker asks whichever broker answers first.
func (k *kafka) anyBroker(ctx context.Context, f func(*sarama.Broker) error) error {
	k.mu.Lock()
	addrs := slices.Concat(k.addrs, k.cfg.Brokers)
	k.mu.Unlock()
	return k.wire.Any(ctx, addrs, f)
}

func (k *kafka) view(topics []string) {
	k.work.Go(func() {
		var mu sync.Mutex
		var v *view
		err := k.anyBroker(k.ctx, func(b *sarama.Broker) error {
			req := sarama.NewMetadataRequest(k.cfg.Connection.Version, topics)
			if len(topics) == 0 {
				req.Topics = []string{} // none; nil would be all
			}
			res, err := b.GetMetadata(req)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			v = viewOf(res)
			return nil
		})
		mu.Lock()
		got := v
		mu.Unlock()
		if got != nil {
			err = nil
			k.mu.Lock()
			k.addrs = k.addrs[:0]
			for _, a := range got.brokers {
				k.addrs = append(k.addrs, a)
			}
			k.mu.Unlock()
		}
		k.loop.post(func(now time.Time) { k.loop.m.viewed(got, err, now) })
	})
}

func viewOf(res *sarama.MetadataResponse) *view {
	v := &view{brokers: map[int32]string{}, topics: map[string]topicView{}}
	for _, b := range res.Brokers {
		v.brokers[b.ID()] = b.Addr()
	}
	for _, t := range res.Topics {
		tv := topicView{code: t.Err}
		for _, p := range t.Partitions {
			tv.parts = append(tv.parts, partView{id: p.ID, leader: p.Leader, epoch: p.LeaderEpoch})
		}
		v.topics[t.Name] = tv
	}
	return v
}
