package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
)

// asMain makes the test binary the program itself, for tests that need a process.
const asMain = "LEAT_ORDERS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
	}
	os.Exit(m.Run())
}

// patience bounds what a test waits for; only a failing test waits that long.
const patience = time.Minute

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// servers are a Kafka and a registry.
type servers struct {
	brokers  []string
	registry string
}

func startEmbedded(t *testing.T) servers {
	t.Helper()
	cluster, err := embedded.Start(embedded.Config{Topics: topics})
	check(t, err)
	t.Cleanup(func() { check(t, cluster.Close()) })
	return servers{cluster.Brokers(), cluster.RegistryURL()}
}

func (s servers) flags(more ...string) []string {
	return append([]string{"-brokers", strings.Join(s.brokers, ","), "-registry", s.registry}, more...)
}

func (s servers) client(t testing.TB) *registry.Client {
	t.Helper()
	reg, err := registry.New(registry.Config{URLs: []string{s.registry}})
	check(t, err)
	return reg
}

// output is a buffer that a test may read while the program writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// orders runs the program in this process.
func orders(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out, errs output
	code = run(ctx, args, &out, &errs)
	if ctx.Err() != nil {
		t.Errorf("orders %v did not end by itself; it wrote:\n%s", args, errs.String()) // not Fatalf: also called from goroutines
	}
	return code, out.String(), errs.String()
}

// mustRun runs the program, which must succeed, and returns its report.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := orders(t, args...)
	if code != 0 {
		t.Fatalf("orders %v: exit %d, stderr:\n%s", args, code, stderr)
	}
	return stdout
}

// readAll reads topics from their beginnings to their ends, as a client of another
// make sees them, committed records only.
func readAll(t *testing.T, brokers []string, names ...string) map[string][]*kgo.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(names...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // or the end of a transactional topic is never seen
	)
	check(t, err)
	defer client.Close()

	left := ends(ctx, t, client, names)
	all := map[string][]*kgo.Record{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		check(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				all[r.Topic] = append(all[r.Topic], r)
			}
			part := pipeline.Partition{Topic: r.Topic, Partition: r.Partition}
			if r.Offset+1 >= left[part] {
				delete(left, part)
			}
		})
	}
	return all
}

// ends returns the ends of the partitions that are not empty.
func ends(ctx context.Context, t *testing.T, client *kgo.Client, names []string) map[pipeline.Partition]int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.IsolationLevel = -1, 1
	for _, name := range names {
		topic := kmsg.NewListOffsetsRequestTopic()
		topic.Topic = name
		for i := range int32(topicPartitions) {
			part := kmsg.NewListOffsetsRequestTopicPartition()
			part.Partition, part.Timestamp = i, -1
			topic.Partitions = append(topic.Partitions, part)
		}
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, client)
	check(t, err)
	out := map[pipeline.Partition]int64{}
	for _, topic := range resp.Topics {
		for _, part := range topic.Partitions {
			if part.ErrorCode != 0 {
				t.Fatalf("%s[%d]: error code %d", topic.Topic, part.Partition, part.ErrorCode)
			}
			if part.Offset > 0 {
				out[pipeline.Partition{Topic: topic.Topic, Partition: part.Partition}] = part.Offset
			}
		}
	}
	return out
}
