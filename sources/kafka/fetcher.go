package kafkasource

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
)

// fetcher reads partitions on behalf of claims. Each broker has a goroutine with
// a connection (fetchnode.go) that fetches all partitions led by it which have
// room; another finds leaders (leaders.go). Claims are handed whole batches:
// sarama's consumers, which give one record at a time through a channel, take a
// third more processor time for a copy.
type fetcher struct {
	cfg    *Config
	wire   wire.Config
	client *cluster.Client
	log    *slog.Logger

	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup
	lost   chan struct{} // some partition's leader is to be found

	mu       sync.Mutex
	feeds    map[*feed]bool
	byPart   map[pipeline.Partition]*feed // the same
	nodes    map[string]*fetchNode        // by address
	buffered int                          // bytes in all chunks
}

const (
	// maxBuffered bounds what is fetched and not taken, in bytes of keys, values
	// and headers. Beyond it only partitions that have nothing are fetched, and
	// little of each.
	maxBuffered = 64 << 20
	hungryBytes = 64 << 10
	// fetchMaxBytes bounds one response. Kafka: fetch.max.bytes.
	fetchMaxBytes = 16 << 20
	// fetchMaxWait is how long a broker waits for something to come. Kafka:
	// fetch.max.wait.ms. It is short while a partition has no room, since that
	// one cannot be asked for until the answer is there.
	fetchMaxWait      = 250 * time.Millisecond
	fetchMaxWaitShort = 20 * time.Millisecond
	fetchTimeout      = 10 * time.Second
)

func newFetcher(cfg *Config, client *cluster.Client) *fetcher {
	f := &fetcher{
		cfg: cfg, client: client, log: cfg.Logger, lost: make(chan struct{}, 1), feeds: map[*feed]bool{}, byPart: map[pipeline.Partition]*feed{}, nodes: map[string]*fetchNode{},
		wire: wire.Config{Connection: cfg.cluster().Sarama(), SASL: cfg.SASL, MaxInFlight: 1, RequestTimeout: fetchTimeout, DialTimeout: fetchTimeout / 2},
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.work.Go(f.findLeaders)
	return f
}

// close ends all goroutines and waits for them.
func (f *fetcher) close() {
	f.cancel()
	f.work.Wait()
}

// feed is one partition that is read.
type feed struct {
	f    *fetcher
	part pipeline.Partition

	ready chan struct{} // there is something to take

	// Under f.mu.
	next   int64 // to be fetched
	epoch  int32 // of the leader
	node   *fetchNode
	chunks []chunk
	bytes  int
	reset  bool  // next is out of range and to be found anew
	alone  bool  // it did not get on: ask for nothing else
	large  int32 // bytes to ask for then
	err    error // nothing more will come
	end    int64 // the high watermark
	heard  time.Time
	taken  bool // a chunk may not have been delivered to the end
}

// open begins to read a partition at an offset.
func (f *fetcher) open(part pipeline.Partition, offset int64) *feed {
	d := &feed{f: f, part: part, next: offset, epoch: -1, ready: make(chan struct{}, 1)}
	f.mu.Lock()
	f.feeds[d], f.byPart[part] = true, d
	f.mu.Unlock()
	f.find()
	return d
}

// close ends it. What is under way for it is dropped.
func (d *feed) close() {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	delete(d.f.feeds, d)
	if d.f.byPart[d.part] == d {
		delete(d.f.byPart, d.part)
	}
	d.f.buffered -= d.bytes
	d.chunks, d.bytes = nil, 0
}

// take waits for records. It returns false when one of the channels is closed, or
// with the error that ended the feed.
func (d *feed) take(stop, revoked <-chan struct{}) (c chunk, ok bool, err error) {
	for {
		if c, ok, err := d.poll(); ok || err != nil {
			return c, ok, err
		}
		select {
		case <-d.ready:
		case <-stop:
			return chunk{}, false, nil
		case <-revoked:
			return chunk{}, false, nil
		}
	}
}

func (d *feed) poll() (c chunk, ok bool, err error) {
	d.f.mu.Lock()
	defer d.f.mu.Unlock()
	d.taken = len(d.chunks) > 0 // who asks for more has delivered the last one
	if !d.taken {
		return chunk{}, false, d.err
	}
	c = d.chunks[0]
	d.chunks[0] = chunk{}
	d.chunks = d.chunks[1:]
	d.bytes -= c.bytes
	d.f.buffered -= c.bytes
	if d.node != nil {
		d.node.poke()
	}
	return c, true, nil
}

// give adds a chunk, or tells of an error. f.mu is held.
func (d *feed) give(c chunk, err error) {
	if err != nil {
		d.err = err
	} else {
		d.chunks = append(d.chunks, c)
		d.bytes += c.bytes
		d.f.buffered += c.bytes
	}
	select {
	case d.ready <- struct{}{}:
	default:
	}
}
