package history

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// states are the topics in which coordinators keep positions and transactions.
var states = []string{"__consumer_offsets", "__transaction_state"}

// WriteRaw writes what stands in the outputs' logs and in the coordinators' to a file,
// a line for each record: aborted ones and the transactions' markers as well, with
// producer ids and epochs. It is for a look at a transaction that has gone wrong.
func WriteRaw(ctx context.Context, brokers []string, topics workload.Topics, path string) (err error) {
	all := append(append([]string(nil), topics.Outputs[:]...), states...)
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ClientID("chaos-raw"), kgo.AlwaysRetryEOF(), kgo.KeepControlRecords(),
		kgo.ConsumeTopics(all...), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, all...)
	if err != nil {
		return fmt.Errorf("raw history: %w", err)
	}
	left := map[string]map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			if left[o.Topic] == nil {
				left[o.Topic] = map[int32]int64{}
			}
			left[o.Topic][o.Partition] = o.Offset
		}
	})
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(file)
	defer func() { err = errors.Join(err, out.Flush(), file.Close()) }()
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return fmt.Errorf("raw history: %w", context.Cause(ctx))
		}
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Fprintf(out, "%s[%d]@%d %s producer %d epoch %d leader epoch %d %s\n", r.Topic, r.Partition, r.Offset,
				r.Timestamp.Format("15:04:05.000"), r.ProducerID, r.ProducerEpoch, r.LeaderEpoch, describe(r))
			if r.Offset+1 >= left[r.Topic][r.Partition] {
				delete(left[r.Topic], r.Partition)
			}
			if len(left[r.Topic]) == 0 {
				delete(left, r.Topic)
			}
		})
	}
	return nil
}

// describe says what a record is, without its value, which is large.
func describe(r *kgo.Record) string {
	switch {
	case r.Attrs.IsControl() && len(r.Key) >= 4 && len(r.Value) >= 6:
		end := "ABORT"
		if binary.BigEndian.Uint16(r.Key[2:]) == 1 {
			end = "COMMIT"
		}
		return fmt.Sprintf("%s by coordinator epoch %d", end, binary.BigEndian.Uint32(r.Value[2:]))
	case r.Topic == states[1]:
		return fmt.Sprintf("key %q value %x", r.Key, r.Value)
	}
	for _, h := range r.Headers {
		if h.Key == workload.HeaderUnit {
			return "unit " + string(h.Value)
		}
	}
	return ""
}
