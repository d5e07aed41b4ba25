package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// readerPlace is a topic of one partition with five records.
func readerPlace(t *testing.T) (*embedded.Cluster, *cluster.Client) {
	t.Helper()
	fake, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "t"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	to := checktest.Dial(t, fake.Brokers())
	for i := range 5 {
		to.Produce(&kgo.Record{Topic: "t", Value: fmt.Append(nil, i)})
	}
	client, err := cluster.Open(t.Context(), cluster.Config{Brokers: fake.Brokers()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return fake, client
}

// What compaction has emptied is passed over, one offset after the other, but only after
// the partition was asked for alone.
func TestReaderPassesOverWhatIsEmpty(t *testing.T) {
	t.Parallel()
	fake, client := readerPlace(t)
	part := pipeline.Partition{Topic: "t"}
	var asked []string
	fake.Fake().ControlKey(int16(kmsg.Fetch), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.Fake().KeepControl()
		req := r.(*kmsg.FetchRequest)
		p := req.Topics[0].Partitions[0]
		asked = append(asked, fmt.Sprintf("%d<%dM", p.FetchOffset, p.PartitionMaxBytes>>20))
		if p.FetchOffset >= 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		topic, answer := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		answer.HighWatermark, answer.LastStableOffset, answer.RecordBatches = 5, 5, []byte{}
		topic.Topic, topic.Partitions = "t", append(topic.Partitions, answer)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	r := client.Reader(map[pipeline.Partition]int64{part: 0}, sarama.ReadCommitted)
	var spans []string
	got := 0
	for at := int64(0); at < 5; {
		reads, err := r.Next(ctx, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		for _, read := range reads {
			spans = append(spans, fmt.Sprintf("%d-%d", read.From, read.Next))
			for _, b := range read.Batches {
				got += len(b.Records)
			}
			at = read.Next
		}
	}
	if s := fmt.Sprint(spans[:2]); s != "[0-1 1-2]" || got != 3 {
		t.Errorf("it read %v, %d records; want 0-1 and 1-2 first, and 3 records", spans, got)
	}
	if s := fmt.Sprint(asked[:3]); s != "[0<1M 0<8M 1<8M]" {
		t.Errorf("it asked %v", asked)
	}
}

func TestReaderOutOfRange(t *testing.T) {
	t.Parallel()
	_, client := readerPlace(t)
	r := client.Reader(map[pipeline.Partition]int64{{Topic: "t"}: 99}, sarama.ReadCommitted)
	if _, err := r.Next(t.Context(), time.Millisecond); !errors.Is(err, sarama.ErrOffsetOutOfRange) {
		t.Errorf("got %v", err)
	}
}

// A partition that is dropped is not asked for, and at the end nothing comes.
func TestReaderDrop(t *testing.T) {
	t.Parallel()
	_, client := readerPlace(t)
	part := pipeline.Partition{Topic: "t"}
	r := client.Reader(map[pipeline.Partition]int64{part: 5}, sarama.ReadUncommitted)
	if reads, err := r.Next(t.Context(), time.Millisecond); len(reads) > 0 || err != nil {
		t.Errorf("at the end: %v, %v", reads, err)
	}
	r = client.Reader(map[pipeline.Partition]int64{part: 0}, sarama.ReadUncommitted)
	r.Drop(part)
	if reads, err := r.Next(t.Context(), time.Millisecond); len(reads) > 0 || err != nil {
		t.Errorf("dropped: %v, %v", reads, err)
	}
}
