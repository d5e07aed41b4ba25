package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

const (
	// readMaxBytes bounds one answer of one broker, readPartBytes what it has of one
	// partition, both as they are compressed. Kafka: fetch.max.bytes,
	// max.partition.fetch.bytes. A single batch may be larger.
	readMaxBytes  = 8 << 20
	readPartBytes = 1 << 20
	// readPatience is how long a partition may stay unreadable.
	readPatience = 30 * time.Second
)

// Reader reads partitions outside of any group; it commits nothing. One goroutine may
// use it at a time. What it holds is what one call of Next returns.
type Reader struct {
	client    *Client
	isolation sarama.IsolationLevel
	parts     map[pipeline.Partition]*reading
	failures  int // rounds in a row in which something failed
}

// reading is one partition of a Reader.
type reading struct {
	part  pipeline.Partition
	next  int64
	addr  string // of the leader, empty if not known
	stuck bool   // it has something, which did not fit beside the others
	since time.Time
	err   error
}

// Read is what one fetch brought of a partition.
type Read struct {
	Partition pipeline.Partition
	// Batches are whole; the first may begin before From.
	Batches []*sarama.RecordBatch
	// From is the offset asked for, Next the one after what was read.
	From, Next int64
}

// Reader begins to read partitions at offsets.
func (c *Client) Reader(from map[pipeline.Partition]int64, isolation sarama.IsolationLevel) *Reader {
	r := &Reader{client: c, isolation: isolation, parts: map[pipeline.Partition]*reading{}}
	for part, at := range from {
		r.parts[part] = &reading{part: part, next: at}
	}
	return r
}

// Drop stops reading a partition.
func (r *Reader) Drop(part pipeline.Partition) { delete(r.parts, part) }

// Next fetches once from every leader and returns what came, by topic and partition.
// The brokers wait for at most wait until there is something. It returns an error when a
// partition's position is not in its log, when the user may not read it, and when it
// could not be read for 30 s; until then what fails is tried again.
func (r *Reader) Next(ctx context.Context, wait time.Duration) ([]Read, error) {
	if err := r.locate(ctx); err != nil {
		return nil, err
	}
	byLeader, alone := map[string][]*reading{}, []*reading(nil)
	for _, p := range r.parts {
		switch {
		case p.addr == "":
		case p.stuck:
			alone = append(alone, p)
		default:
			byLeader[p.addr] = append(byLeader[p.addr], p)
		}
	}
	var out []Read
	var mu sync.Mutex
	var work sync.WaitGroup
	for addr, parts := range byLeader {
		work.Go(func() {
			got := r.fetch(ctx, addr, parts, wait)
			mu.Lock()
			defer mu.Unlock()
			out = append(out, got...)
		})
	}
	work.Wait()
	for _, p := range alone {
		if got, ok := r.fetchAlone(ctx, p); ok {
			out = append(out, got)
		}
	}
	slices.SortFunc(out, func(a, b Read) int { return a.Partition.Compare(b.Partition) })
	return out, r.failed(ctx)
}

// locate finds the leaders that are not known.
func (r *Reader) locate(ctx context.Context) error {
	var topics []string
	for _, p := range r.parts {
		if p.addr == "" && !slices.Contains(topics, p.part.Topic) {
			topics = append(topics, p.part.Topic)
		}
	}
	if len(topics) == 0 {
		return nil
	}
	leaders, err := r.client.Leaders(ctx, topics)
	for _, p := range r.parts {
		switch leader, ok := leaders[p.part]; {
		case p.addr != "":
		case err != nil:
			p.fail(err)
		case !ok:
			p.fail(sarama.ErrLeaderNotAvailable)
		default:
			p.addr = leader.Addr
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

func (p *reading) fail(err error) {
	p.err, p.addr = err, ""
	if p.since.IsZero() {
		p.since = time.Now()
	}
}

// failed returns the error that ends the reading, after a pause if there is none but
// something has to be tried again.
func (r *Reader) failed(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	failing := false
	for _, p := range r.parts {
		switch {
		case p.err == nil:
		case errors.Is(p.err, sarama.ErrOffsetOutOfRange), isAuth(p.err), time.Since(p.since) > readPatience:
			err := secure.Denied(p.err, secure.Read, secure.Topic, p.part.Topic)
			return fmt.Errorf("%v: read at offset %d: %w", p.part, p.next, oneLine{err})
		default:
			failing = true
		}
	}
	if !failing {
		r.failures = 0
		return nil
	}
	r.failures++
	select {
	case <-time.After(min(time.Second, pipeline.Backoff{}.Wait(r.failures))):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Reader) request(maxBytes int32, wait time.Duration) *sarama.FetchRequest {
	return &sarama.FetchRequest{
		Version: 11, MinBytes: 1, MaxBytes: maxBytes, MaxWaitTime: int32(max(1, wait.Milliseconds())),
		Isolation: r.isolation, SessionEpoch: -1,
	}
}

func (r *Reader) fetch(ctx context.Context, addr string, parts []*reading, wait time.Duration) (out []Read) {
	req := r.request(readMaxBytes, wait)
	for _, p := range parts {
		req.AddBlock(p.part.Topic, p.part.Partition, p.next, readPartBytes, -1)
	}
	resp, err := ask(ctx, r.client, addr, func(b *sarama.Broker) (*sarama.FetchResponse, error) { return b.Fetch(req) })
	if err == nil && resp.ErrorCode != 0 {
		err = sarama.KError(resp.ErrorCode)
	}
	for _, p := range parts {
		if err != nil {
			p.fail(err)
			continue
		}
		block := resp.GetBlock(p.part.Topic, p.part.Partition)
		switch {
		case block == nil: // throttled
		case block.Err != sarama.ErrNoError:
			p.fail(block.Err)
		default:
			batches, next := Committed(block)
			if next > p.next {
				out = append(out, p.advance(batches, next))
				continue
			}
			p.err, p.since = nil, time.Time{}
			p.stuck = p.next < r.end(block)
		}
	}
	return out
}

// end is where what the reader may have ends.
func (r *Reader) end(block *sarama.FetchResponseBlock) int64 {
	if r.isolation == sarama.ReadCommitted {
		return block.LastStableOffset
	}
	return block.HighWaterMarkOffset
}

func (p *reading) advance(batches []*sarama.RecordBatch, next int64) Read {
	out := Read{Partition: p.part, Batches: batches, From: p.next, Next: next}
	p.next, p.stuck, p.err, p.since = next, false, nil, time.Time{}
	return out
}

// fetchAlone asks for a partition that did not get on beside others: its next batch is
// large, or compaction has emptied it, of which sarama does not say how far it reaches.
func (r *Reader) fetchAlone(ctx context.Context, p *reading) (out Read, ok bool) {
	_, err := ask(ctx, r.client, p.addr, func(b *sarama.Broker) (none struct{}, err error) {
		for maxBytes := int32(readMaxBytes); ; maxBytes *= 2 {
			req := r.request(maxBytes, 0)
			req.AddBlock(p.part.Topic, p.part.Partition, p.next, maxBytes, -1)
			block, err := fetchBlock(b, req, p.part)
			if err != nil {
				return none, err
			}
			batches, next := Committed(block)
			switch {
			case next > p.next:
				out, ok = p.advance(batches, next), true
			case p.next >= r.end(block): // nothing is left after all
				p.stuck = false
			case block.Partial && maxBytes < 1<<29:
				continue
			default:
				out, ok = p.advance(nil, p.next+1), true
				p.stuck = true
			}
			return none, nil
		}
	})
	if err != nil {
		p.fail(err)
	}
	return out, ok
}

// Timestamp is when a record was made, or written if the topic says so
// (message.timestamp.type).
func Timestamp(batch *sarama.RecordBatch, r *sarama.Record) time.Time {
	if batch.LogAppendTime {
		return batch.MaxTimestamp
	}
	return batch.FirstTimestamp.Add(r.TimestampDelta)
}
