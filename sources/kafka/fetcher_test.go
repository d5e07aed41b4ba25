package kafkasource

import (
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

var partition = pipeline.Partition{Topic: "t", Partition: 0}

func fetching(t *testing.T, cfg Config, brokers int) (*fetcher, *checktest.Client, *embedded.Cluster) {
	t.Helper()
	checktest.NoLeaks(t, "sources/kafka.")
	c, err := embedded.Start(embedded.Config{Brokers: brokers, Topics: []embedded.Topic{{Name: "t", Partitions: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	cfg.Brokers, cfg.Logger = c.Brokers(), slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg = cfg.withDefaults("p")
	client, err := cluster.Open(t.Context(), cfg.cluster())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	f := newFetcher(&cfg, client)
	t.Cleanup(f.close)
	return f, checktest.Dial(t, c.Brokers()), c
}

// next takes a chunk, and returns its values.
func next(t *testing.T, d *feed) (out []string, err error) {
	t.Helper()
	late := make(chan struct{})
	timer := time.AfterFunc(20*time.Second, func() { close(late) })
	defer timer.Stop()
	c, ok, err := d.take(late, nil)
	if err != nil {
		return nil, err
	}
	if !ok {
		t.Fatal("nothing came")
	}
	b := &pipeline.Batch{}
	for more := true; more; {
		more = c.fill(b, d.part, &headerSpace{})
		for _, r := range b.Records {
			out = append(out, string(r.Value))
		}
		b.Records, b.Bytes = b.Records[:0], 0
	}
	return out, nil
}

func values(from, n int) (records []*kgo.Record, want []string) {
	for i := from; i < from+n; i++ {
		v := fmt.Sprintf("v%d", i)
		records = append(records, checktest.To(0, &kgo.Record{Topic: "t", Value: []byte(v)}))
		want = append(want, v)
	}
	return records, want
}

func expect(t *testing.T, d *feed, want []string) {
	t.Helper()
	var got []string
	for len(got) < len(want) {
		more, err := next(t, d)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, more...)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %d records, want %d: %.200v", len(got), len(want), got)
	}
}

// A partition is followed from one leader to the next.
func TestFetcherFollowsTheLeader(t *testing.T) {
	f, c, fake := fetching(t, Config{}, 3)
	d := f.open(partition, 0)
	defer d.close()
	for i := range 6 {
		if err := fake.Fake().MoveTopicPartition("t", 0, int32(i%3)); err != nil {
			t.Fatal(err)
		}
		records, want := values(100*i, 100)
		c.Produce(records...)
		expect(t, d, want)
	}
}

// A topic that is made anew has leaders of earlier epochs.
func TestFetcherTakesAnEarlierEpoch(t *testing.T) {
	f, c, _ := fetching(t, Config{}, 1)
	d := f.open(partition, 0)
	defer d.close()
	f.mu.Lock()
	d.node, d.epoch = nil, 99
	f.mu.Unlock()
	f.find()
	records, want := values(0, 10)
	c.Produce(records...)
	expect(t, d, want)
}

// The position may stand within a batch.
func TestFetcherBeginsWithinABatch(t *testing.T) {
	f, c, _ := fetching(t, Config{}, 1)
	records, want := values(0, 50)
	c.Produce(records...)
	d := f.open(partition, 30)
	defer d.close()
	expect(t, d, want[30:])
}

// What is not taken holds the fetcher up, partition by partition.
func TestFetcherIsBounded(t *testing.T) {
	const most = 4000
	f, c, _ := fetching(t, Config{FetchMaxBytes: most}, 1)
	slow := f.open(partition, 0)
	defer slow.close()
	var want []string
	for i := range 100 { // batches of about 600 bytes
		records, v := values(100*i, 100)
		c.Produce(records...)
		want = append(want, v...)
	}
	other := f.open(pipeline.Partition{Topic: "t", Partition: 1}, 0)
	defer other.close()
	c.Produce(checktest.To(1, &kgo.Record{Topic: "t", Value: []byte("quick")}))
	expect(t, other, []string{"quick"})
	f.mu.Lock()
	if slow.bytes > 2*most {
		t.Errorf("%d bytes are buffered, want at most twice %d", slow.bytes, most)
	}
	f.mu.Unlock()
	expect(t, slow, want)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.buffered != 0 {
		t.Errorf("%d bytes are left", f.buffered)
	}
}

func TestFetcherOutOfRange(t *testing.T) {
	f, c, _ := fetching(t, Config{}, 1)
	records, want := values(0, 10)
	c.Produce(records...)
	d := f.open(partition, 1000)
	if _, err := next(t, d); !pipeline.IsFatal(err) {
		t.Errorf("a position out of range gives %v", err)
	}
	d.close()

	f.cfg.ResetOutOfRange = true
	d = f.open(partition, 1000)
	defer d.close()
	expect(t, d, want)
}

// Batches that compaction has emptied take up offsets, and sarama does not show
// them: the partition is asked for alone, and only then passed over.
func TestFetcherPassesEmptyBatches(t *testing.T) {
	d := &feed{f: &fetcher{cfg: &Config{FetchMaxBytes: 100}}, next: 5, ready: make(chan struct{}, 1)}
	nothing := &sarama.FetchResponseBlock{LastStableOffset: 5}
	d.advance(nothing, chunk{}, -1)
	if d.alone || d.next != 5 {
		t.Fatalf("at the end: %+v", d)
	}
	hidden := &sarama.FetchResponseBlock{LastStableOffset: 9}
	d.advance(hidden, chunk{}, -1)
	if !d.alone || d.next != 5 || d.large != 100 {
		t.Fatalf("it may just not have fitted: %+v", d)
	}
	d.advance(&sarama.FetchResponseBlock{LastStableOffset: 9, Partial: true}, chunk{}, -1)
	if d.next != 5 || d.large != 200 {
		t.Fatalf("a batch that is larger than asked for: %+v", d)
	}
	d.advance(hidden, chunk{}, -1)
	if d.next != 6 || !d.alone {
		t.Fatalf("an empty batch: %+v", d)
	}
	d.advance(hidden, chunk{batches: make([]*sarama.RecordBatch, 1)}, 9)
	if d.next != 9 || d.alone || len(d.chunks) != 1 {
		t.Fatalf("and on: %+v", d)
	}
}

func TestHeadersCostNoAllocation(t *testing.T) {
	in := []*sarama.RecordHeader{{Key: []byte("traceparent"), Value: []byte("1")}, {Key: []byte("source"), Value: nil}}
	var space headerSpace
	first := space.of(in)
	if got := fmt.Sprint(first); got != "[{traceparent [49]} {source []}]" || first[1].Value != nil {
		t.Errorf("got %s", got)
	}
	if n := testing.AllocsPerRun(10_000, func() { space.of(in) }); n > 0.01 {
		t.Errorf("%v allocations", n)
	}
	for range 2 * headerSlab { // another record's headers never overwrite these
		space.of([]*sarama.RecordHeader{{Key: []byte("other")}, {Key: []byte("x")}})
	}
	if _ = append(first, pipeline.Header{Key: "more"}); first[0].Key != "traceparent" || first[1].Key != "source" {
		t.Errorf("the first record's are now %v", first)
	}
	if space.of(nil) != nil {
		t.Error("a record without headers has some")
	}
}
