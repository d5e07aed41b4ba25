package main

import (
	"context"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// deadLetters is a dead-letter topic that is read.
type deadLetters struct {
	o          *dlqOptions
	client     *cluster.Client
	view       *view
	partitions int32
	topicID    string
	seen       letterCounts
}

// letterCounts is what a topic holds, as far as it was read.
type letterCounts struct {
	Open     int64 `json:"open"`     // neither redriven nor foreign
	Redriven int64 `json:"redriven"` // letters that a marker names
	Foreign  int64 `json:"foreign"`  // records that are no dead letters of Leat's
}

func openDeadLetters(ctx context.Context, o *dlqOptions) (*deadLetters, error) {
	view, err := newView(o.key, o.value, o.registry.client)
	if err != nil {
		return nil, err
	}
	client, err := cluster.Open(ctx, o.cluster)
	if err != nil {
		return nil, err
	}
	d := &deadLetters{o: o, client: client, view: view}
	if err := d.look(ctx); err != nil {
		_ = client.Close()
		return nil, err
	}
	return d, nil
}

func (d *deadLetters) close() { _ = d.client.Close() }

func (d *deadLetters) look(ctx context.Context) error {
	topic := []string{d.o.topic}
	counts, err := d.client.Partitions(ctx, topic)
	if err != nil {
		return err
	}
	d.partitions = counts[d.o.topic]
	if wanted := d.o.filter.partitions; len(wanted) > 0 && wanted[len(wanted)-1].last >= int64(d.partitions) {
		return fmt.Errorf("topic %q has %d partitions, not all of %v", d.o.topic, d.partitions, wanted)
	}
	ids, err := d.client.TopicIDs(ctx, topic)
	d.topicID = ids[d.o.topic]
	return err
}

// parts are the partitions to read, in order.
func (d *deadLetters) parts() (out []pipeline.Partition) {
	wanted := d.o.filter.partitions
	for p := range d.partitions {
		if len(wanted) == 0 || wanted.has(int64(p)) {
			out = append(out, pipeline.Partition{Topic: d.o.topic, Partition: p})
		}
	}
	return out
}

// ends are where the partitions end now, before the first transaction that is open.
func (d *deadLetters) ends(ctx context.Context) (map[pipeline.Partition]int64, error) {
	ends := map[pipeline.Partition]int64{}
	for _, part := range d.parts() {
		end, err := d.client.OffsetFor(ctx, part, cluster.Latest, sarama.ReadCommitted)
		if err != nil {
			return nil, err
		}
		ends[part] = end
	}
	return ends, nil
}

const (
	// settleWithin is how long transactions that are open may take to end. Pipelines'
	// take as long as their CommitInterval, and at most their TransactionTimeout.
	settleWithin = 2 * time.Minute
	settleEvery  = 100 * time.Millisecond
)

// settle returns when all before the ends is decided. A marker may stand behind a pipeline's
// transaction that is open: who reads only what is before that does not see it.
func (d *deadLetters) settle(ctx context.Context, ends map[pipeline.Partition]int64, within time.Duration) error {
	deadline := time.Now().Add(within)
	for _, part := range d.parts() {
		for {
			stable, err := d.client.OffsetFor(ctx, part, cluster.Latest, sarama.ReadCommitted)
			if err != nil {
				return err
			}
			if stable >= ends[part] {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%v: a transaction that began at offset %d has been open for more than %v; when it has ended, which its transaction.timeout.ms sees to, run this again", part, stable, within)
			}
			select {
			case <-time.After(settleEvery):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// each hands f the letters before the ends that are open and meant, by partition and
// offset. Each partition is read twice, since what marks a letter stands behind it.
func (d *deadLetters) each(ctx context.Context, ends map[pipeline.Partition]int64, f func(*letter) error) error {
	var n int64
	for _, part := range d.parts() {
		redriven, err := d.redriven(ctx, part, ends[part])
		if err != nil {
			return err
		}
		err = d.read(ctx, part, ends[part], func(r found) (enough bool, err error) {
			l, meant, err := d.judge(ctx, r, redriven)
			if err != nil || !meant {
				return false, err
			}
			n++
			return n == d.o.limit, f(l)
		})
		if err != nil || n > 0 && n == d.o.limit {
			return err
		}
	}
	return nil
}

// redriven are the letters of a partition that its markers name. It is as large as there
// are ranges of them: 16 bytes for each.
func (d *deadLetters) redriven(ctx context.Context, part pipeline.Partition, end int64) (all offsets, err error) {
	err = d.read(ctx, part, end, func(r found) (bool, error) {
		done, _ := markedBy(r, d.topicID)
		all = append(all, done...)
		return false, nil
	})
	return all.sorted(), err
}

// judge counts a record and says whether it is a letter that is open and meant.
func (d *deadLetters) judge(ctx context.Context, r found, redriven offsets) (l *letter, meant bool, err error) {
	if _, is := markedBy(r, d.topicID); is {
		return nil, false, nil
	}
	l, is := letterOf(r)
	switch {
	case !is:
		d.seen.Foreign++
		return nil, false, nil
	case redriven.has(r.offset):
		d.seen.Redriven++
		return nil, false, nil
	}
	d.seen.Open++
	if !d.o.filter.matches(l) {
		return nil, false, nil
	}
	if d.o.filter.key == "" {
		return l, true, nil
	}
	key, err := d.view.show(ctx, pipeline.Slot{Topic: l.origin.Topic, Key: true, Headers: &l.headers}, d.o.key, l.Key)
	if err != nil {
		return nil, false, fmt.Errorf("%v, offset %d: key: %w", r.part, r.offset, err)
	}
	return l, d.o.filter.matchesKey(l.Key, key.text), nil
}

// read hands f the records of a partition, from its beginning to end.
func (d *deadLetters) read(ctx context.Context, part pipeline.Partition, end int64, f func(found) (enough bool, err error)) error {
	begin, err := d.client.OffsetFor(ctx, part, cluster.Earliest, sarama.ReadCommitted)
	if err != nil || begin >= end {
		return err
	}
	reader := d.client.Reader(map[pipeline.Partition]int64{part: begin}, sarama.ReadCommitted)
	return readTo(ctx, reader, map[pipeline.Partition]int64{part: end}, func(read cluster.Read) (bool, error) {
		for r := range recordsOf(read, end) {
			if enough, err := f(r); err != nil || enough {
				return enough, err
			}
		}
		return false, nil
	})
}
