package kafkasource

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
)

// fetchNode fetches from one broker.
type fetchNode struct {
	f    *fetcher
	addr string
	wake chan struct{}

	// The goroutine's.
	conn  *wire.Conn // nil after an error
	alone bool       // the last request was for a partition alone
}

func (n *fetchNode) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// run is the node's goroutine: one fetch after the other, with all partitions that
// have room. Its decoding runs beside the chains.
func (n *fetchNode) run() {
	defer func() {
		if n.conn != nil {
			n.conn.Close()
		}
	}()
	for {
		req, asked := n.request()
		if len(asked) == 0 {
			select {
			case <-n.wake:
				continue
			case <-n.f.ctx.Done():
				return
			}
		}
		resp, err := n.fetch(req)
		if n.f.ctx.Err() != nil {
			return
		}
		n.received(asked, resp, err)
	}
}

// request asks for what has room. While a partition has to be asked for alone,
// it takes turns with the others.
func (n *fetchNode) request() (req *sarama.FetchRequest, asked []*feed) {
	f := n.f
	f.mu.Lock()
	defer f.mu.Unlock()
	req = &sarama.FetchRequest{
		Version: 11, MinBytes: 1, MaxBytes: fetchMaxBytes, MaxWaitTime: int32(fetchMaxWait / time.Millisecond),
		Isolation: sarama.ReadCommitted, SessionEpoch: -1,
	}
	each, hungry := f.cfg.FetchMaxBytes, f.buffered >= maxBuffered
	if hungry {
		each = min(each, hungryBytes)
	}
	var alone *feed
	for d := range f.feeds {
		switch {
		case d.node != n || d.err != nil:
		case hungry && d.bytes > 0, d.bytes >= f.cfg.FetchMaxBytes/2:
			req.MaxWaitTime = int32(fetchMaxWaitShort / time.Millisecond)
		case d.alone:
			alone = d
			req.MaxWaitTime = int32(fetchMaxWaitShort / time.Millisecond)
		default:
			asked = append(asked, d)
		}
	}
	n.alone = alone != nil && (!n.alone || len(asked) == 0)
	if n.alone {
		req.AddBlock(alone.part.Topic, alone.part.Partition, alone.next, alone.large, alone.epoch)
		req.MaxBytes = max(fetchMaxBytes, alone.large)
		return req, []*feed{alone}
	}
	for _, d := range asked {
		req.AddBlock(d.part.Topic, d.part.Partition, d.next, int32(each), d.epoch)
	}
	return req, asked
}

func (n *fetchNode) fetch(req *sarama.FetchRequest) (resp *sarama.FetchResponse, err error) {
	if n.conn == nil {
		if n.conn, err = n.f.wire.Open(n.f.ctx, n.addr); err != nil {
			return nil, err
		}
	}
	err = n.conn.Ask(n.f.ctx, func(b *sarama.Broker) (err error) {
		resp, err = b.Fetch(req)
		return err
	})
	if err == nil && resp.ErrorCode != 0 {
		err = sarama.KError(resp.ErrorCode)
	}
	if err != nil {
		n.conn.Close()
		n.conn = nil
	}
	return resp, err
}

// received hands out what came. Partitions that are not led here any more, or all
// after an error, look for their leader anew.
func (n *fetchNode) received(asked []*feed, resp *sarama.FetchResponse, err error) {
	f := n.f
	type outcome struct {
		c    chunk
		next int64
	}
	got := make([]outcome, len(asked))
	if err == nil {
		for i, d := range asked { // outside the lock; only this goroutine moves next
			if block := resp.GetBlock(d.part.Topic, d.part.Partition); block != nil && block.Err == sarama.ErrNoError {
				got[i].c, got[i].next = chunkOf(block, d.next)
			}
		}
	} else if !errors.Is(err, context.Canceled) {
		f.log.Debug("fetch", "broker", n.addr, "error", err)
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	lost := false
	for i, d := range asked {
		if !f.feeds[d] {
			continue
		}
		var block *sarama.FetchResponseBlock
		code := error(nil)
		if err == nil {
			block = resp.GetBlock(d.part.Topic, d.part.Partition)
		}
		switch {
		case err != nil:
			code = err
		case block == nil: // throttled
			continue
		case block.Err != sarama.ErrNoError:
			code = block.Err
		}
		switch {
		case code == nil:
			d.end, d.heard = block.HighWaterMarkOffset, now
			d.advance(block, got[i].c, got[i].next)
		case errors.Is(code, sarama.ErrOffsetOutOfRange) && !f.cfg.ResetOutOfRange:
			d.give(chunk{}, pipeline.Fatal(fmt.Errorf(
				"%v: position %d of group %q is no longer in the log, records have been lost; reset the group's offsets (the sink's, if that keeps them), or set ResetOutOfRange to go on from Start: %w",
				d.part, d.next, f.cfg.Group, code)))
		case cluster.IsAuth(code):
			d.give(chunk{}, pipeline.Fatal(fmt.Errorf("fetch %v: %w", d.part, secure.Denied(code, secure.Read, secure.Topic, d.part.Topic))))
		default:
			d.node, d.reset = nil, errors.Is(code, sarama.ErrOffsetOutOfRange)
			lost = true
		}
	}
	if lost {
		f.find()
	}
}

// advance takes a block without an error. f.mu is held.
func (d *feed) advance(block *sarama.FetchResponseBlock, c chunk, next int64) {
	switch {
	case next > d.next:
		d.next, d.alone = next, false
		if len(c.batches) > 0 {
			d.give(c, nil)
		}
	case d.next >= block.LastStableOffset: // nothing new
	case !d.alone:
		// There is something, but it did not fit beside the others, or compaction
		// has left an empty batch, of which sarama does not show how far it reaches.
		d.alone, d.large = true, int32(d.f.cfg.FetchMaxBytes)
	case block.Partial:
		d.large = min(2*d.large, 1<<30)
	default: // asked alone, a broker gives at least one batch: that one is empty
		d.next++
	}
}
