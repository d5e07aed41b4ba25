package pipelinetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// Records returns what a reader with isolation.level=read_committed sees of a
// topic now: the records of ended and committed transactions, up to the first
// that is open, by partition and offset. Each Origin is the record's own place.
func (c *Cluster) Records(topic string) []pipeline.Raw {
	var out []pipeline.Raw
	t := c.topic(topic)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range t.partitions {
		l.readCommitted(0, func(e *entry) bool {
			out = append(out, e.Raw)
			return true
		})
	}
	return out
}

// Uncommitted returns what a reader with isolation.level=read_uncommitted sees of
// a topic now: every record that was written, those of open and of aborted
// transactions too, by partition and offset.
func (c *Cluster) Uncommitted(topic string) []pipeline.Raw {
	var out []pipeline.Raw
	t := c.topic(topic)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range t.partitions {
		for i := range l.entries {
			if e := &l.entries[i]; !e.control {
				out = append(out, e.Raw)
			}
		}
	}
	return out
}

// Values returns the values that [Cluster.Records] has, decoded. It panics if one
// cannot be decoded.
func Values[T any](c *Cluster, topic string, serde pipeline.Serde[T]) []T {
	records := c.Records(topic)
	out := make([]T, len(records))
	for i := range records {
		r := &records[i]
		v, err := serde.Decode(context.Background(), pipeline.Slot{Topic: topic, Headers: &r.Headers}, r.Value)
		if err != nil {
			panic(fmt.Sprintf("pipelinetest: %v: %v", r.Origin, err))
		}
		out[i] = v
	}
	return out
}

// DeadLetter is a dead letter with its leat.* headers read.
type DeadLetter struct {
	// Raw is the record as it stands in the dead-letter topic.
	pipeline.Raw
	// Pipeline, Stage and Error say who refused it and why.
	Pipeline, Stage, Error string
	// From is the input record; of one that was retried later, where it stood first.
	From pipeline.Origin
	// Retries is how often it was retried later.
	Retries int
	// Time is the input record's timestamp.
	Time time.Time
}

// DeadLetters returns the committed records of a dead-letter topic. It panics if
// one lacks a header of a dead letter.
func (c *Cluster) DeadLetters(topic string) []DeadLetter {
	records := c.Records(topic)
	out := make([]DeadLetter, len(records))
	for i, r := range records {
		text := func(key string) string {
			v, ok := r.Headers.Get(key)
			if !ok {
				panic(fmt.Sprintf("pipelinetest: %v has no header %s: it is no dead letter", r.Origin, key))
			}
			return string(v)
		}
		number := func(key string) int64 {
			n, err := strconv.ParseInt(text(key), 10, 64)
			if err != nil {
				panic(fmt.Sprintf("pipelinetest: %v: header %s: %v", r.Origin, key, err))
			}
			return n
		}
		out[i] = DeadLetter{
			Raw: r, Pipeline: text(pipeline.HeaderPipeline), Stage: text(pipeline.HeaderStage), Error: text(pipeline.HeaderError),
			From: pipeline.Origin{
				Topic: text(pipeline.HeaderTopic), Partition: int32(number(pipeline.HeaderPartition)), Offset: number(pipeline.HeaderOffset),
			},
			Time: time.UnixMilli(number(pipeline.HeaderTimestamp)),
		}
		if _, ok := r.Headers.Get(pipeline.HeaderRetryAttempt); ok {
			out[i].Retries = int(number(pipeline.HeaderRetryAttempt))
		}
	}
	return out
}

// Committed returns the positions that a group has committed; those of open
// transactions do not count. The group of a pipeline is its name, see [Group].
func (c *Cluster) Committed(group string) map[pipeline.Partition]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := map[pipeline.Partition]int64{}
	if g := c.groups[group]; g != nil {
		maps.Copy(out, g.committed)
	}
	return out
}

// Commit is one commit of a worker that took effect.
type Commit struct {
	// Worker is its name, see [Instance].
	Worker string
	// Group is whose positions they are; "" if there were none.
	Group string
	// Offsets are the positions, sorted by partition.
	Offsets []pipeline.Offset
	// Records is the number of records in the transaction; 0 at least once.
	Records int
	// Time is when it took effect.
	Time time.Time
}

// Commits returns every commit so far, in order.
func (c *Cluster) Commits() []Commit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.commits)
}

// OpenTransactions returns the transactional ids that have one open, sorted.
func (c *Cluster) OpenTransactions() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []string
	for id, p := range c.producers {
		if p.open != nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}
