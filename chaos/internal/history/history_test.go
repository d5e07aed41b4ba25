package history

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/embedded"
)

// cluster is one in this process, with a workload's topics and a transactional
// producer.
type cluster struct {
	t        *testing.T
	embedded *embedded.Cluster
	topics   workload.Topics
	producer *kgo.Client
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	e, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, embedded: e, topics: workload.NewTopics("h")}
	c.producer, err = kgo.NewClient(kgo.SeedBrokers(e.Brokers()...), kgo.TransactionalID("chaos-h-0"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.producer.Close()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.topics.Create(t.Context(), c.producer, 3, 2, 1); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cluster) begin(records ...*kgo.Record) {
	c.t.Helper()
	if err := c.producer.BeginTransaction(); err != nil {
		c.t.Fatal(err)
	}
	if err := c.producer.ProduceSync(c.t.Context(), records...).FirstErr(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) end(commit bool) {
	c.t.Helper()
	if err := c.producer.EndTransaction(c.t.Context(), kgo.TransactionEndTry(commit)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cluster) output(value string) *kgo.Record {
	h := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return &kgo.Record{Topic: c.topics.Outputs[workload.Left], Partition: 1, Key: []byte("k"), Value: []byte(value), Headers: []kgo.RecordHeader{
		h(workload.HeaderPartition, "2"), h(workload.HeaderOffset, "7"), h(workload.HeaderIndex, "1"), h(workload.HeaderUnit, "u-"+value),
	}}
}

func (c *cluster) watch() *Watch {
	c.t.Helper()
	w, err := StartWatch(WatchConfig{Brokers: c.embedded.Brokers(), Topics: c.topics, Group: "g", TransactionalIDs: "chaos-h", Every: 20 * time.Millisecond})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(w.Close)
	return w
}

func (c *cluster) reader(file string) *Reader {
	c.t.Helper()
	r, err := StartReader(ReaderConfig{Name: "live", Brokers: c.embedded.Brokers(), Topics: c.topics, Units: NewUnits(), File: file})
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

// within bounds what should take no time.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestReaderSeesWhatIsCommitted, comes to an end that is an abort's marker, and writes
// what it sees into its file.
func TestReaderSeesWhatIsCommitted(t *testing.T) {
	c := newCluster(t)
	file := filepath.Join(t.TempDir(), "live.txt")
	r := c.reader(file)
	c.begin(c.output("a"), &kgo.Record{Topic: c.topics.Outputs[workload.Left], Partition: 0, Value: []byte("no headers")})
	c.end(true)
	c.begin(c.output("b"))
	c.end(false)
	manifest := `{"unit":"u-a","partition":2,"first":7,"last":7,"left":1,"right":0}`
	c.begin(&kgo.Record{Topic: c.topics.Outputs[workload.Manifests], Partition: 0, Value: []byte(manifest)})
	c.end(true)
	c.begin(c.output("c"))
	c.end(false)

	ends, _, open, err := c.watch().AwaitClosed(within(t))
	if err != nil || len(open) > 0 {
		t.Fatal(open, err)
	}
	if err := r.Await(within(t), ends); err != nil {
		t.Fatal(err)
	}
	log, err := r.Close()
	if err != nil {
		t.Fatal(err)
	}
	for _, byMarkers := range []bool{false, true} {
		again, err := Read(within(t), ReaderConfig{Name: "reread", Brokers: c.embedded.Brokers(), Topics: c.topics, Units: log.Units, ByMarkers: byMarkers}, ends)
		if err != nil || !reflect.DeepEqual(again.Records, log.Records) {
			t.Errorf("read again, by markers %v: %+v, %v", byMarkers, again, err)
		}
	}
	u := log.Units.Known("u-a")
	want := Record{Offset: 0, Source: 7, Key: Hash([]byte("k")), Value: Hash([]byte("a")), Unit: u, Partition: 2, Index: 1}
	if got := log.Records[workload.Left][1]; len(got) != 1 || got[0] != want || u == 0 {
		t.Errorf("seen %+v, want %+v", got, want)
	}
	if log.NumBad != 1 || !strings.Contains(log.Bad[0], "h.left[0]@0: 0 headers index") {
		t.Errorf("bad: %d, %q", log.NumBad, log.Bad)
	}
	if m := log.Manifests; len(m) != 1 || m[0] != (workload.Manifest{Unit: "u-a", Partition: 2, First: 7, Last: 7, Left: 1}) {
		t.Errorf("manifests: %v", m)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "h.left 1 0 2 7 1 u-a ") || strings.Count(string(text), "\n") != 3 {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// TestReaderSaysWhatItHasNotReached, rather than wait for ever.
func TestReaderSaysWhatItHasNotReached(t *testing.T) {
	c := newCluster(t)
	r := c.reader("")
	defer r.Close()
	c.begin(c.output("a"))
	defer c.end(false)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := r.Await(ctx, Ends{workload.Left: {0, 1}})
	if err == nil || !strings.Contains(err.Error(), "output 0[1]@0 to 1") {
		t.Errorf("%v", err)
	}
}

// TestReaderNoticesALoss has the cluster say that what was read is not there.
func TestReaderNoticesALoss(t *testing.T) {
	c := newCluster(t)
	c.embedded.Fake().ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.embedded.Fake().KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		resp := fetch.ResponseKind().(*kmsg.FetchResponse)
		for _, topic := range fetch.Topics {
			rt := kmsg.NewFetchResponseTopic()
			rt.Topic, rt.TopicID = topic.Topic, topic.TopicID
			for _, p := range topic.Partitions {
				rp := kmsg.NewFetchResponseTopicPartition()
				rp.Partition, rp.ErrorCode = p.Partition, kerr.OffsetOutOfRange.Code
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	r := c.reader("")
	err := r.Await(within(t), Ends{workload.Left: {1}})
	log, _ := r.Close()
	if !errors.Is(err, kerr.OffsetOutOfRange) || !errors.Is(log.Failed, kerr.OffsetOutOfRange) {
		t.Errorf("%v, %v", err, log.Failed)
	}
}

// TestWatchFindsOpenTransactions at the coordinator and in the partition.
func TestWatchFindsOpenTransactions(t *testing.T) {
	c := newCluster(t)
	w := c.watch()
	c.begin(c.output("a"))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, _, open, err := w.AwaitClosed(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, o := range open {
		all = append(all, o.String())
	}
	for _, want := range []string{"chaos-h-0: Ongoing since", "h.left[1]: stable up to 0 of 1", "h.left[1]: open from offset 0"} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("%q is not in %q", want, all)
		}
	}
	if !contains(w.Samples(), func(s Sample) bool {
		return len(s.Open) == 1 && s.Open[0].Name == "chaos-h-0" && time.Since(s.Open[0].Since) < time.Minute
	}) {
		t.Error("no sample has it")
	}
	c.end(true)
	ends, _, open, err := w.AwaitClosed(within(t))
	if err != nil || len(open) > 0 || ends.At(workload.Left, 1) != 2 {
		t.Errorf("after its end: %v, %v, %v", ends, open, err)
	}
}

func contains(samples []Sample, f func(Sample) bool) bool {
	for _, s := range samples {
		if f(s) {
			return true
		}
	}
	return false
}

// TestWorkerTakesWholeLines however they come, and adds up processes.
func TestWorkerTakesWholeLines(t *testing.T) {
	w := &Worker{Name: "w"}
	for _, part := range []string{
		"\n" + `{"at":"2026-01-01T00:00:00Z","incarnation":"1","commits":1,"partitions":[4],"aborted":["u1"]}` + "\n" + `{"at":"2026-01-`,
		`01T00:00:01Z","incarnation":"1","commits":3,"partitions":[4]}` + "\n" + `{"at":"2026-01-01T00:00:01Z","incarnation":"1","commits":3}` + "\n" + `{"at":"2026-01-01T00:00:02Z","inca`, // killed
		"\n" + `{"at":"2026-01-01T00:00:03Z","incarnation":"2","commits":4,"aborted":["u2"],"end":true}` + "\nno status\n",
	} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatal(n, err)
		}
	}
	if last, ok := w.Last(); !ok || !last.End || last.Commits != 4 || last.Aborted != nil {
		t.Errorf("%+v", last)
	}
	if total := w.Total(); total.Commits != 7 || w.Processes() != 2 || w.Joined() != 1 {
		t.Errorf("total %+v of %d, %d of which had partitions", total, w.Processes(), w.Joined())
	}
	if got := strings.Join(w.Aborted(), " "); got != "u1 u2" {
		t.Errorf("aborted %q", got)
	}
}
