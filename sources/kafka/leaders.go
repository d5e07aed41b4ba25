package kafkasource

import (
	"slices"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// find has the leaders of partitions without one looked for.
func (f *fetcher) find() {
	select {
	case f.lost <- struct{}{}:
	default:
	}
}

// findLeaders is a goroutine. Looks follow each other after a pause that grows: a
// leader that is named and refuses to be one would else be asked in a circle.
func (f *fetcher) findLeaders() {
	backoff := pipeline.Backoff{Initial: 20 * time.Millisecond}
	var last time.Time
	for try := 0; ; {
		select {
		case <-f.lost:
		case <-f.ctx.Done():
			return
		}
		if time.Since(last) > 10*time.Second {
			try = 0
		}
		if try > 0 {
			select {
			case <-time.After(backoff.Wait(try - 1)):
			case <-f.ctx.Done():
				return
			}
		}
		homeless := f.homeless()
		if len(homeless) == 0 {
			continue
		}
		try, last = try+1, time.Now()
		if err := f.settle(homeless); err != nil {
			f.log.Debug("looking for leaders", "error", err)
		}
		if len(f.homeless()) > 0 {
			f.find()
		}
	}
}

func (f *fetcher) homeless() (all []*feed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for d := range f.feeds {
		if d.node == nil && d.err == nil {
			all = append(all, d)
		}
	}
	return all
}

// settle gives feeds their leader, as far as there is one.
func (f *fetcher) settle(homeless []*feed) error {
	for _, d := range homeless {
		if err := f.findPosition(d); err != nil {
			return err
		}
	}
	var topics []string
	for _, d := range homeless {
		if !slices.Contains(topics, d.part.Topic) {
			topics = append(topics, d.part.Topic)
		}
	}
	leaders, err := f.client.Leaders(f.ctx, topics)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range homeless {
		l, ok := leaders[d.part]
		if !ok {
			continue
		}
		// Its epoch may be lower than the last: the topic was made anew, or whoever told
		// is behind, and then the leader of old refuses.
		n := f.nodes[l.Addr]
		if n == nil {
			n = &fetchNode{f: f, addr: l.Addr, wake: make(chan struct{}, 1)}
			f.nodes[l.Addr] = n
			f.work.Go(n.run)
		}
		d.node, d.epoch = n, l.Epoch
		n.poke()
	}
	return nil
}

// findPosition finds where to go on if the position was out of range.
func (f *fetcher) findPosition(d *feed) error {
	f.mu.Lock()
	reset := d.reset
	f.mu.Unlock()
	if !reset {
		return nil
	}
	next, err := f.client.Offset(f.ctx, d.part, f.cfg.Start.offset())
	if err != nil {
		return err
	}
	f.log.Warn("position is no longer in the log, going on from Start", "partition", d.part, "position", d.next, "offset", next)
	f.mu.Lock()
	defer f.mu.Unlock()
	d.next, d.reset = next, false
	return nil
}
