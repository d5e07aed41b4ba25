package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// values are the values of a topic's committed records, sorted.
func (p *dlqPlace) values(topic string) (out []string) {
	for _, r := range p.ReadAll(topic) {
		out = append(out, string(r.Value))
	}
	slices.Sort(out)
	return out
}

func numbered(of ...int) (out []string) {
	for _, i := range of {
		out = append(out, fmt.Sprintf("v%d", i))
	}
	return out
}

func (p *dlqPlace) wantValues(t *testing.T, topic string, want ...int) {
	t.Helper()
	if got := p.values(topic); !slices.Equal(got, numbered(want...)) {
		t.Errorf("%s has %v, want %v", topic, got, numbered(want...))
	}
}

// A dry run changes nothing, not even who may redrive, and the command that it prints
// does what it has shown.
func TestRedriveDryRun(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(8)
	p.Produce(foreignOn("orders.dlq"))
	before := fmt.Sprint(p.Ends("orders", false), p.Ends("orders.dlq", false))
	begun := 0
	p.fake.Fake().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.Fake().KeepControl()
		begun++
		return nil, nil, false
	})
	o := p.run(t, "redrive", "-stage", "rate", "-error", "it's", "-since", "1h")
	o.want(t, 0)
	o.wantLines(t, "orders.dlq: would redrive 0 of 8 open letters; 0 redriven before, 1 foreign")
	o = p.run(t, "redrive", "-stage", "rate", "-error-regexp", "for [2-3]$", "-same-partition", "-until", "2026-02-01")
	o.want(t, 0)
	command := "leat dlq redrive -brokers=" + strings.Join(p.fake.Brokers(), ",") + " -error-regexp='for [2-3]$' -same-partition=true -stage=rate -topic=orders.dlq -until=2026-02-01T00:00:00Z -execute"
	o.wantLines(t,
		"orders.dlq: would redrive 2 of 8 open letters; 0 redriven before, 1 foreign",
		"COUNT  PIPELINE  STAGE  TOPIC   FIRST                 LAST                  ERROR",
		"2      pricing   rate   orders  2026-01-31T08:00:02Z  2026-01-31T08:00:03Z  no rate for #",
		"", "Nothing was changed. To do it:", "  "+command)
	if after := fmt.Sprint(p.Ends("orders", false), p.Ends("orders.dlq", false)); after != before || begun != 0 {
		t.Errorf("the ends are %s, they were %s; %d producers were begun", after, before, begun)
	}
	args := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(command, "for [", "for.["), "'", ""))
	o = leatWith(t.Context(), args[1:]...)
	o.want(t, 0)
	o.wantLines(t,
		"orders.dlq: redriven: 2 of 8 open letters; 0 redriven before, 1 foreign",
		"COUNT  PIPELINE  STAGE  TOPIC   FIRST                 LAST                  ERROR",
		"2      pricing   rate   orders  2026-01-31T08:00:02Z  2026-01-31T08:00:03Z  no rate for #")
	p.wantValues(t, "orders", 2, 3)
	if begun == 0 {
		t.Error("no producer was begun: the control does not see them")
	}
}

// A record comes back as it was.
func TestRedriveIsExact(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	letters := []*kgo.Record{
		letterOn("orders.dlq", 0, "check", "no"),
		letterOn("orders.dlq", 1, "check", "no", header("leat.redriven", "2"), header("leat.retry.attempt", "3"), header("leat.retry.due", "17"), header("leat.other", "stays")),
		letterOn("orders.dlq", 2, "check", "no"), // null
		letterOn("orders.dlq", 3, "check", "no"), // empty
	}
	letters[2].Key, letters[2].Value = nil, nil
	letters[3].Key, letters[3].Value = []byte{}, []byte{}
	p.Produce(letters...)
	for _, tt := range []struct {
		topic string
		flags []string
	}{{"else", []string{"-to", "else", "-offset", "0"}}, {"orders", []string{"-same-partition"}}} {
		p.run(t, "redrive", append(tt.flags, "-execute")...).want(t, 0)
	}
	got := append(p.ReadAll("else"), p.ReadAll("orders")...)
	slices.SortFunc(got, func(a, b *kgo.Record) int { return a.Timestamp.Compare(b.Timestamp) })
	if len(got) != 4 {
		t.Fatalf("there are %d records, want 4", len(got))
	}
	for i, r := range got {
		want := []kgo.RecordHeader{header("h", "1"), header("h", "2"), header("leat.redriven", "1")}
		if i == 1 {
			want = []kgo.RecordHeader{header("h", "1"), header("h", "2"), header("leat.other", "stays"), header("leat.redriven", "3")}
		}
		if x := letters[i]; (r.Key == nil) != (x.Key == nil) || (r.Value == nil) != (x.Value == nil) || string(r.Key) != string(x.Key) || string(r.Value) != string(x.Value) ||
			!r.Timestamp.Equal(x.Timestamp) || fmt.Sprint(r.Headers) != fmt.Sprint(want) {
			t.Errorf("record %d is %+v with headers %v", i, r, r.Headers)
		}
		switch {
		case r.Topic == "orders" && r.Partition != int32(i): // as their headers say
			t.Errorf("record %d is in partition %d, not its own", i, r.Partition)
		case r.Topic == "else" && r.Key != nil:
			p.Produce(&kgo.Record{Topic: "else", Key: r.Key, Value: []byte("probe")}) // hashed as by Java
			if probe := lastOf(p, "else"); probe.Partition != r.Partition {
				t.Errorf("record %d is in partition %d, by its key it belongs in %d", i, r.Partition, probe.Partition)
			}
		}
	}
}

// lastOf is the record of a topic with the value probe, the last one.
func lastOf(p *dlqPlace, topic string) (out *kgo.Record) {
	for _, r := range p.ReadAll(topic) {
		if string(r.Value) == "probe" && (out == nil || r.Timestamp.After(out.Timestamp)) {
			out = r
		}
	}
	return out
}

// Filters that overlap, one after the other, and more letters than a transaction takes.
func TestRedriveOverlaps(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	const n = 2*maxBatch + 200
	var letters []*kgo.Record
	for i := range n {
		letters = append(letters, letterOn("orders.dlq", 2*i+i%2, []string{"check", "rate"}[i/2%2], "no"))
		letters[i].Value = fmt.Appendf(nil, "%06d", i)
	}
	p.Produce(letters...)
	for _, tt := range []struct {
		flags string
		says  string
	}{
		{"-stage check", "redriven: 600 of 1200 open letters; 0 redriven before"},
		{"-stage check", "redriven: 0 of 600 open letters; 600 redriven before"},
		{"-offset 0-99 -limit 80", "redriven: 80 of "},
		{"-key k4", "redriven: 0 of "}, // letter 2 is of stage rate, and among the first 80
		{"-error no", "redriven: 520 of 520 open letters; 680 redriven before"},
		{"", "redriven: 0 of 0 open letters; 1200 redriven before, 0 foreign"},
	} {
		o := p.run(t, "redrive", append(strings.Fields(tt.flags), "-same-partition", "-execute")...)
		o.want(t, 0)
		if !strings.Contains(o.stdout, tt.says) {
			t.Errorf("%s: %s", tt.flags, o.stdout)
		}
	}
	got := p.values("orders")
	for i := range n {
		if i >= len(got) || got[i] != fmt.Sprintf("%06d", i) {
			t.Fatalf("there are %d records, and record %d is missing or doubled", len(got), i)
		}
	}
	o := p.run(t, "list")
	o.wantLines(t, "orders.dlq: 0 open, 0 of them match; 1200 redriven, 0 foreign")
}

// The order of each partition of the dead-letter topic is kept.
func TestRedriveKeepsTheOrder(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	var letters []*kgo.Record
	for i := range maxBatch + 100 {
		letters = append(letters, letterOn("orders.dlq", 2*i, "check", "no"))
		letters[i].Key = fmt.Appendf(nil, "k%d", i%10)
	}
	p.Produce(letters...)
	p.run(t, "redrive", "-execute").want(t, 0)
	n := 0
	for part, records := range p.Read("orders") {
		for i, r := range records {
			if i > 0 && r.Timestamp.Before(records[i-1].Timestamp) {
				t.Errorf("partition %d, offset %d: made at %v, before the one in front of it", part, r.Offset, r.Timestamp)
			}
			n++
		}
	}
	if n != len(letters) {
		t.Errorf("%d records, want %d", n, len(letters))
	}
}

func TestRedriveLeavesOut(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.Produce(letterOn("orders.dlq", 0, "check", "no"), letterOn("orders.dlq", 1, "check", "no", header("leat.redriven", "2")),
		letterOn("orders.dlq", 2, "check", "no", header("leat.redriven", "3")), foreignOn("orders.dlq"))
	// A marker that a mirror has brought along names other letters.
	m := markerOn("orders.dlq", 0, "0")
	m.Headers = append(m.Headers, header("leat.redriven.topic", "0123456789abcdef0123456789abcdef"))
	p.Produce(m)
	o := p.run(t, "redrive", "-execute", "-to", "else", "-max-redrives", "3", "-json")
	o.want(t, 0)
	var report redriveReport
	if err := json.Unmarshal([]byte(o.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Executed || report.Letters != 2 || report.TooOften != 1 || report.Foreign != 1 || report.Command != "" || len(report.Groups) != 1 || report.Groups[0].To != "else" {
		t.Errorf("it says %s", o.stdout)
	}
	p.wantValues(t, "else", 0, 1)
}

// Nothing is redriven that cannot be, and nothing is marked.
func TestRedriveFails(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	o := p.run(t, "redrive", "-execute", "-to", "absent")
	o.want(t, 1)
	o.oneLine(t, "leat dlq: the letters", "orders.dlq[0], offset 0", "absent", "topic does not exist")
	own := letterOn("orders.dlq", 4, "check", "own")
	for i, h := range own.Headers {
		if h.Key == "leat.topic" {
			own.Headers[i].Value = []byte("orders.dlq")
		}
	}
	p.Produce(own)
	o = p.run(t, "redrive", "-execute", "-error", "own")
	o.want(t, 1)
	o.oneLine(t, "comes from the dead-letter topic itself; name another with -to")
	p.wantValues(t, "orders")
	p.run(t, "redrive", "-execute", "-error", "rate").want(t, 0)
	p.wantValues(t, "orders", 0, 1, 2, 3)
}

// Compaction would remove the markers.
func TestRedriveRefusesCompaction(t *testing.T) {
	t.Parallel()
	for _, policy := range []string{"compact", "compact,delete"} {
		p := &dlqPlace{newCatPlace(t, embedded.Topic{Name: "orders"}, embedded.Topic{Name: "orders.dlq", Config: map[string]string{"cleanup.policy": policy}})}
		r := letterOn("orders.dlq", 0, "check", "no")
		p.Produce(r)
		o := p.run(t, "redrive", "-execute")
		o.want(t, 1)
		o.oneLine(t, `topic "orders.dlq" has cleanup.policy=`+policy, "set cleanup.policy=delete")
		p.wantValues(t, "orders")
	}
}

// Nor is it begun where that cannot be seen.
func TestRedriveRefusesWhatItCannotSee(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(2)
	p.fake.Fake().ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		resp.Resources = []kmsg.DescribeConfigsResponseResource{{ErrorCode: 29, ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "orders.dlq"}} // TOPIC_AUTHORIZATION_FAILED
		return resp, nil, true
	})
	o := p.run(t, "redrive", "-execute")
	o.want(t, 1)
	o.oneLine(t, "cleanup.policy cannot be seen", "grant DESCRIBE_CONFIGS")
	p.wantValues(t, "orders")
}

// Interrupted, it leaves a whole transaction or none.
func TestRedriveInterrupted(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	requests := 0
	p.fake.Fake().ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.Fake().KeepControl()
		requests++
		if requests > 2 { // of the second transaction
			stop()
		}
		return nil, nil, false
	})
	o := leatWith(ctx, p.dlq("redrive", "-execute", "-same-partition")...)
	o.want(t, 1)
	if !strings.Contains(o.stderr, "run this again") {
		t.Errorf("it says %s", o.stderr)
	}
	p.run(t, "redrive", "-execute").want(t, 0)
	p.wantValues(t, "orders", 0, 1, 2, 3)
}

// A marker may stand behind a pipeline's transaction that is open, where readers of what
// is committed do not get to.
func TestRedriveReadsToTheRealEnd(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(2)
	open, err := kgo.NewClient(kgo.SeedBrokers(p.fake.Brokers()...), kgo.TransactionalID("a pipeline"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	late := letterOn("orders.dlq", 4, "check", "no")
	late.Partition = 0
	err = errors.Join(open.BeginTransaction(), open.ProduceSync(t.Context(), late).FirstErr())
	if err != nil {
		t.Fatal(err)
	}
	p.ProduceTransaction(true, markerOn("orders.dlq", 0, "0")) // of letter 0
	asked := make(chan struct{}, 1)
	p.fake.Fake().ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		p.fake.Fake().KeepControl()
		if r.(*kmsg.ListOffsetsRequest).IsolationLevel == 1 {
			select {
			case asked <- struct{}{}:
			default:
			}
		}
		return nil, nil, false
	})
	ended := make(chan outcome, 1)
	go func() { ended <- leatWith(t.Context(), p.dlq("redrive", "-execute")...) }()
	for range 3 { // it looks again and again
		select {
		case <-asked:
		case o := <-ended:
			t.Fatalf("it has not waited for the transaction: %+v", o)
		case <-time.After(lookUpLimit):
			t.Fatal("it does not look how far the topic is decided")
		}
	}
	p.wantValues(t, "orders")
	if err := open.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	o := <-ended
	o.want(t, 0)
	p.wantValues(t, "orders", 1, 4)
}

// A leader that is cut off answers with what it knew before the others went on.
func TestRedriveDoesNotTrustWhereATopicEnds(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	p.run(t, "redrive", "-execute").want(t, 0)
	fake := p.fake.Fake()
	var lies atomic.Int32
	lies.Store(20)
	fake.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		if req.Topics[0].Topic != "orders.dlq" || req.Topics[0].Partitions[0].Timestamp != -1 || lies.Add(-1) < 0 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		for _, t := range req.Topics {
			rt := kmsg.NewListOffsetsResponseTopic()
			rt.Topic = t.Topic
			for _, asked := range t.Partitions {
				rp := kmsg.NewListOffsetsResponseTopicPartition()
				rp.Partition, rp.Offset = asked.Partition, 2 // as if nothing were marked
				rt.Partitions = append(rt.Partitions, rp)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil, true
	})
	o := p.run(t, "redrive", "-execute")
	o.want(t, 0)
	p.wantValues(t, "orders", 0, 1, 2, 3)
	if lies.Load() > 0 {
		t.Errorf("it has not asked until it was told the truth: %d more", lies.Load())
	}
}

// It does not wait for ever.
func TestRedriveGivesUpWaiting(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	open, err := kgo.NewClient(kgo.SeedBrokers(p.fake.Brokers()...), kgo.TransactionalID("a pipeline"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	r := letterOn("orders.dlq", 0, "check", "no")
	r.Partition = 0
	if err := errors.Join(open.BeginTransaction(), open.ProduceSync(t.Context(), r).FirstErr()); err != nil {
		t.Fatal(err)
	}
	d, err := openDeadLetters(t.Context(), &dlqOptions{topic: "orders.dlq", cluster: cluster.Config{Brokers: p.fake.Brokers(), ClientID: "test"}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	ends := map[pipeline.Partition]int64{{Topic: "orders.dlq"}: 1}
	if err := d.settle(t.Context(), ends, 10*time.Millisecond); err == nil || !strings.Contains(err.Error(), "orders.dlq[0]: a transaction that began at offset 0 has been open for more than 10ms") {
		t.Errorf("the error is %v", err)
	}
}

// What another one commits just before it is shut out is seen.
func TestRedriveReadsAfterItHasBegun(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	fake := p.fake.Fake()
	var begun atomic.Bool
	fake.ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
		if begun.Swap(true) { // that of the markers' own producer
			return nil, nil, false
		}
		fake.SleepControl(func() { p.ProduceTransaction(true, markerOn("orders.dlq", 0, "0"), markerOn("orders.dlq", 1, "1")) })
		return nil, nil, false
	})
	o := p.run(t, "redrive", "-execute")
	o.want(t, 0)
	p.wantValues(t, "orders", 1, 2)
}

// Two operators: the second one shuts the first one out, in the midst of its commit.
func TestRedriveShutsOut(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	fake := p.fake.Fake()
	reached, release := make(chan struct{}), make(chan struct{})
	var ends atomic.Int32
	fake.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		if ends.Add(1) == 2 { // the first is that of the markers of nothing
			close(reached)
			fake.SleepControl(func() { <-release })
		}
		return nil, nil, false
	})
	first := make(chan outcome, 1)
	go func() { first <- leatWith(t.Context(), p.dlq("redrive", "-execute")...) }()
	<-reached
	second := p.run(t, "redrive", "-execute")
	close(release)
	second.want(t, 0)
	o := <-first
	o.want(t, 1)
	o.oneLine(t, `leat dlq: another redrive of topic "orders.dlq" has begun and has ended this one`)
	p.wantValues(t, "orders", 0, 1, 2, 3)
}

// The copies without their marker, or the marker without them, are never seen.
func TestRedriveIsWholeOrNot(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(4)
	fake, n := p.fake.Fake(), 0
	fake.ControlKey(int16(kmsg.EndTxn), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if n++; n == 2 { // the first is that of the markers of nothing
			end := r.(*kmsg.EndTxnRequest)
			resp := end.ResponseKind().(*kmsg.EndTxnResponse)
			resp.ErrorCode = 55 // OPERATION_NOT_ATTEMPTED: a definite no
			return resp, nil, true
		}
		return nil, nil, false
	})
	o := p.run(t, "redrive", "-execute")
	o.want(t, 1)
	p.wantValues(t, "orders")
	p.run(t, "redrive", "-execute").want(t, 0)
	p.wantValues(t, "orders", 0, 1, 2, 3)
}
