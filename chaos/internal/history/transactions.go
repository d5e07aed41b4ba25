package history

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// OpenTransaction is one that has neither been committed nor aborted, or whose end
// is not everywhere yet.
type OpenTransaction struct {
	// Name is the transactional.id, or the partition in which it was found.
	Name, State string
	// Since is when it began, or zero if that is not known.
	Since time.Time
}

// String describes it.
func (o OpenTransaction) String() string {
	if o.Since.IsZero() {
		return o.Name + ": " + o.State
	}
	return fmt.Sprintf("%s: %s since %s", o.Name, o.State, o.Since.Format(time.TimeOnly))
}

// coordinated lists the open transactions that the coordinators know, of
// transactional ids that begin with prefix.
func coordinated(ctx context.Context, admin *kadm.Client, prefix string) (open []OpenTransaction, err error) {
	listed, err := admin.ListTransactions(ctx, nil, []string{"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
	if err != nil {
		return nil, fmt.Errorf("list transactions: %w", err)
	}
	var ids []string
	for _, t := range listed.Sorted() {
		if strings.HasPrefix(t.TxnID, prefix) {
			ids = append(ids, t.TxnID)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	described, err := admin.DescribeTransactions(ctx, ids...)
	if err != nil {
		return nil, fmt.Errorf("describe transactions: %w", err)
	}
	for _, t := range described.Sorted() {
		switch t.State {
		case "Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence":
			o := OpenTransaction{Name: t.TxnID, State: t.State}
			if t.StartTimestamp > 0 {
				o.Since = time.UnixMilli(t.StartTimestamp)
			}
			open = append(open, o)
		}
	}
	return open, nil
}

// hanging lists what the partitions themselves say: producers with a transaction
// open there, and ends that readers of committed records do not get to.
func hanging(ctx context.Context, admin *kadm.Client, topics workload.Topics) (open []OpenTransaction, err error) {
	stable, err := outputEnds(ctx, admin, topics, true)
	if err != nil {
		return nil, err
	}
	high, err := outputEnds(ctx, admin, topics, false)
	if err != nil {
		return nil, err
	}
	set := kadm.TopicsSet{}
	for topic := range high {
		for p, end := range high[topic] {
			set.Add(topics.Outputs[topic], int32(p))
			name := fmt.Sprintf("%s[%d]", topics.Outputs[topic], p)
			switch at := stable.At(topic, p); {
			case end == Unknown || at == Unknown:
				return nil, fmt.Errorf("the ends of %s are not known", name)
			case at < end:
				open = append(open, OpenTransaction{Name: name, State: fmt.Sprintf("stable up to %d of %d", at, end)})
			}
		}
	}
	producers, err := admin.DescribeProducers(ctx, set)
	if err != nil {
		return nil, fmt.Errorf("describe producers: %w", err)
	}
	var failed error
	producers.EachPartition(func(p kadm.DescribedProducersPartition) { failed = errors.Join(failed, p.Err) })
	if failed != nil {
		return nil, fmt.Errorf("describe producers: %w", failed)
	}
	for _, p := range producers.SortedProducers() {
		if p.CurrentTxnStartOffset >= 0 {
			open = append(open, OpenTransaction{
				Name: fmt.Sprintf("%s[%d]", p.Topic, p.Partition), State: fmt.Sprintf("open from offset %d by producer %d", p.CurrentTxnStartOffset, p.ProducerID),
			})
		}
	}
	return open, nil
}
