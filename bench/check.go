//go:build unix

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/internal/record"
)

// silence is how long the checker waits for a record that the offsets say is there.
const silence = 30 * time.Second

// verdict is what a reader of committed records finds in an output topic.
type verdict struct {
	Records    int64 `json:"records"`
	Missing    int64 `json:"missing"`
	Duplicates int64 `json:"duplicates"`
	Disordered int64 `json:"disordered"`   // records after a later one of their partition
	Bad        int64 `json:"bad"`          // changed in any byte, or not from the input
	Open       int64 `json:"open_offsets"` // behind a transaction that nobody ended
}

// exact is whether the output holds each record of the input once, unchanged, in order.
func (v verdict) exact(n int64) bool { return v == verdict{Records: n} }

func (v verdict) String() string {
	return fmt.Sprintf("%d records, %d missing, %d duplicates, %d disordered, %d bad, %d offsets open",
		v.Records, v.Missing, v.Duplicates, v.Disordered, v.Bad, v.Open)
}

// checkCommand prints the verdict on a topic as JSON.
func checkCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench check", flag.ContinueOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`")
	topic := fs.String("topic", "", "`topic` to check")
	n := fs.Int64("n", 0, "records that must be in it")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("bench check: %w", err)
	}
	v, err := check(ctx, strings.Split(*brokers, ","), *topic, *n)
	if err != nil {
		return fmt.Errorf("check %s: %w", *topic, err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(v); err != nil {
		return fmt.Errorf("print verdict: %w", err)
	}
	return nil
}

// check reads a topic read_committed from its beginning to the end of what is committed.
func check(ctx context.Context, brokers []string, topic string, n int64) (verdict, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The last offset of a partition is usually a transaction's marker: without these the end
		// would never be seen.
		kgo.KeepControlRecords(),
	)
	if err != nil {
		return verdict{}, fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	var v verdict
	ends, err := committedEnds(ctx, kadm.NewClient(client), topic, &v)
	if err != nil {
		return verdict{}, err
	}
	seen := make([]bool, n)
	last := map[int32]uint64{}
	for len(ends) > 0 {
		poll, cancel := context.WithTimeout(ctx, silence)
		fetches := client.PollFetches(poll)
		cancel()
		if err := fetches.Err(); err != nil {
			return verdict{}, fmt.Errorf("read, with %d partitions not at their end: %w", len(ends), err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				if !r.Attrs.IsControl() {
					v.add(r, seen, last)
				}
				if end, ok := ends[r.Partition]; ok && r.Offset+1 >= end {
					delete(ends, r.Partition)
				}
			}
		})
	}
	for _, found := range seen {
		if !found {
			v.Missing++
		}
	}
	return v, nil
}

// add takes one record into account. seen is by number, last the latest number of each partition.
func (v *verdict) add(r *kgo.Record, seen []bool, last map[int32]uint64) {
	v.Records++
	id, ok := record.ID(r.Key, r.Value)
	if !ok || id >= uint64(len(seen)) {
		v.Bad++
		return
	}
	if seen[id] {
		v.Duplicates++
	}
	seen[id] = true
	// The input was filled in the order of the numbers, so each of its partitions is ordered too.
	if before, any := last[r.Partition]; any && id < before {
		v.Disordered++
		return
	}
	last[r.Partition] = id
}

// committedEnds is where what is committed ends, for partitions that hold anything. Offsets after
// it belong to transactions still open; a worker that has ended must leave none.
func committedEnds(ctx context.Context, a *kadm.Client, topic string, v *verdict) (map[int32]int64, error) {
	written, err := a.ListEndOffsets(ctx, topic)
	if err == nil {
		err = written.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list ends: %w", err)
	}
	committed, err := a.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = committed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("list committed ends: %w", err)
	}
	ends := map[int32]int64{}
	committed.Each(func(c kadm.ListedOffset) {
		if w, ok := written.Lookup(topic, c.Partition); ok {
			v.Open += w.Offset - c.Offset
		}
		if c.Offset > 0 {
			ends[c.Partition] = c.Offset
		}
	})
	return ends, nil
}
