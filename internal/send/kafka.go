package send

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/recordbatch"
	"github.com/leat-stream/leat/internal/wire"
)

// kafka is the machine's world on a real cluster.
type kafka struct {
	cfg  *Config
	loop *loop
	wire wire.Config

	compressor *recordbatch.Compressor
	wires      *sync.Pool

	ctx    context.Context // ends with the producer
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	addrs []string // of the brokers, as of the latest view

	coordinator coordinators
}

func newKafka(cfg *Config, l *loop, c *recordbatch.Compressor, wires *sync.Pool, wrap func(net.Conn) net.Conn) *kafka {
	k := &kafka{cfg: cfg, loop: l, compressor: c, wires: wires, wire: wire.Config{
		Connection: cfg.Connection, SASL: cfg.SASL, MaxInFlight: cfg.MaxInFlight, RequestTimeout: cfg.RequestTimeout, DialTimeout: cfg.DialTimeout, Wrap: wrap,
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
