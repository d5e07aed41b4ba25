package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// catPlace is an embedded cluster with its registry.
type catPlace struct {
	*checktest.Client
	fake *embedded.Cluster
	reg  *registry.Client
	args []string // of leat cat, but for --topic
}

func newCatPlace(t *testing.T, topics ...embedded.Topic) *catPlace {
	t.Helper()
	fake, err := embedded.Start(embedded.Config{Brokers: 2, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = fake.Close() })
	reg, err := registry.New(registry.Config{URLs: []string{fake.RegistryURL()}})
	if err != nil {
		t.Fatal(err)
	}
	return &catPlace{
		checktest.Dial(t, fake.Brokers()), fake, reg,
		[]string{"cat", "--brokers", strings.Join(fake.Brokers(), ","), "--registry", fake.RegistryURL()},
	}
}

func (p *catPlace) with(more ...string) []string {
	return append(append([]string(nil), p.args...), more...)
}

// wantLines compares what was printed, line by line.
func (o outcome) wantLines(t *testing.T, want ...string) {
	t.Helper()
	got := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\n")
	if o.stdout == "" {
		got = nil
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("line %d is missing, want\n%s", i, want[i])
		case i >= len(want):
			t.Errorf("line %d is not wanted:\n%s", i, got[i])
		case got[i] != want[i]:
			t.Errorf("line %d is\n%s\nwant\n%s", i, got[i], want[i])
		}
	}
}

// values are the printed values that are strings, in order.
func (o outcome) values(t *testing.T) (out []string) {
	t.Helper()
	for line := range strings.Lines(o.stdout) {
		var l struct{ Value string }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, l.Value)
	}
	return out
}

func TestCatFormats(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "orders"})
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "orders"}
	w.all()

	// The header form, which names schemas by GUID.
	key, headers := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"long"`), serde.InHeader()), true, any(int64(8)))
	guid, err := p.reg.Latest(t.Context(), "orders-key")
	w.check(err)
	line := func(guid string) string {
		return fmt.Sprintf(`"key":8,"keyFormat":"avro","keySchema":"%s","value":"v","valueFormat":"string","headers":[{"key":"__key_schema_id","value":%s,"format":"bytes"}]`, guid, inBase64(headers[0].Value))
	}
	w.put(key, []byte("v"), line(guid.GUID), headers...)
	foreign := "\x01" + strings.Repeat("\x11", 16)
	w.put(nil, []byte("v"), `"key":null,"value":"v","valueFormat":"string","valueSchema":"11111111-1111-1111-1111-111111111111","headers":[{"key":"__value_schema_id","value":"ARERERERERERERERERERERE=","format":"bytes"}]`,
		kgo.RecordHeader{Key: "__value_schema_id", Value: []byte(foreign)})

	o := leatWith(t.Context(), p.with("--topic", "orders")...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: 4 records could not be decoded")
	o.wantLines(t, w.want...)

	o = leatWith(t.Context(), p.with("--topic", "orders", "--allow-errors")...)
	o.want(t, 0)
	o.wantLines(t, w.want...)
	if groups := p.groups(t); groups != 0 {
		t.Errorf("there are %d groups", groups)
	}
}

// groups counts the cluster's consumer groups.
func (p *catPlace) groups(t *testing.T) int {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(p.fake.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return len(resp.Groups)
}

// A format that is asked for is the only one that is taken.
func TestCatAsked(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "t"}
	value, _ := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"string"`)), false, any("hello"))
	p.Produce(&kgo.Record{Topic: "t", Key: []byte("caf\xe9"), Value: value})
	for _, tt := range []struct {
		key, value string
		says       string
		code       int
	}{
		{"auto", "avro", `"key":"Y2Fm6Q==","keyFormat":"bytes","value":"hello","valueFormat":"avro","valueSchema":1,"headers":[]}`, 0},
		{"bytes", "bytes", `"key":"Y2Fm6Q==","keyFormat":"bytes","value":"AAAAAAEKaGVsbG8=","valueFormat":"bytes","headers":[]}`, 0},
		{"bytes", "string", `"value":"\u0000\u0000\u0000\u0000\u0001\nhello","valueFormat":"string","headers":[]}`, 0},
		{"string", "avro", `"key":"Y2Fm6Q==","keyFormat":"bytes","value":"hello","valueFormat":"avro","valueSchema":1,"headers":[],"error":"key: not valid UTF-8"}`, 1},
		{"avro", "avro", `"error":"key: decode avro: not in Confluent's wire format (a zero byte, then 4 bytes of schema id)"}`, 1},
		{"auto", "protobuf", `"value":"AAAAAAEKaGVsbG8=","valueFormat":"bytes","valueSchema":1,"headers":[],"error":"value: decode protobuf: the schema is of type AVRO"}`, 1},
		{"jsonschema", "jsonschema", `"error":"key: decode jsonschema: not in Confluent's wire format (a zero byte, then 4 bytes of schema id); value: decode jsonschema: the schema is of type AVRO"}`, 1},
	} {
		o := leatWith(t.Context(), p.with("--topic", "t", "--key", tt.key, "--value", tt.value)...)
		o.want(t, tt.code)
		if !strings.HasSuffix(o.stdout, tt.says+"\n") {
			t.Errorf("--key %s --value %s: %swant at its end\n%s", tt.key, tt.value, o.stdout, tt.says)
		}
	}
	// Without a registry there are text and bytes.
	o := leatWith(t.Context(), "cat", "--brokers", strings.Join(p.fake.Brokers(), ","), "--topic", "t")
	o.want(t, 0)
	if !strings.Contains(o.stdout, `"value":"AAAAAAEKaGVsbG8=","valueFormat":"bytes","headers":[]}`) {
		t.Errorf("without a registry: %s", o.stdout)
	}
}

// An unknown id is unknown, and an error, for who asks for a format.
func TestCatUnknownSchema(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	p.Produce(&kgo.Record{Topic: "t", Value: append(prefixOf(9), "xyz"...)})
	o := leatWith(t.Context(), p.with("--topic", "t", "--value", "avro")...)
	o.want(t, 1)
	if !strings.Contains(o.stdout, `"valueSchema":9,"headers":[],"error":"value: decode avro: unknown schema id"}`) {
		t.Error(o.stdout)
	}
}

// What an Any holds may be of a type that nobody here knows.
func TestCatUnknownAny(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "t"}
	holder, err := proto.Marshal(&anypb.Any{TypeUrl: "type.googleapis.com/else.Where", Value: []byte{8, 1}})
	w.check(err)
	m := message(t, "Order", `{"orderId":"o"}`)
	w.check(proto.UnmarshalOptions{Merge: true}.Unmarshal(append([]byte{5<<3 | 2, byte(len(holder))}, holder...), m))
	value, _ := formatEncode(w, serde.ProtobufAny(p.reg, serde.Schema(catProto)), false, m)
	p.Produce(&kgo.Record{Topic: "t", Value: value})
	o := leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 1)
	if !strings.Contains(o.stdout, `"valueFormat":"bytes","valueSchema":1`) || !strings.Contains(o.stdout, "else.Where") || !strings.Contains(o.stdout, string(inBase64(value))) {
		t.Error(o.stdout)
	}
}

func TestCatIsolation(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	rec := func(v string) *kgo.Record { return &kgo.Record{Topic: "t", Value: []byte(v)} }
	p.Produce(rec("a"))
	p.ProduceTransaction(false, rec("aborted"), rec("aborted too"))
	p.ProduceTransaction(true, rec("b"), rec("c"))
	p.ProduceTransaction(false, rec("last"))
	for isolation, want := range map[string]string{
		"read_committed": "[a b c]", "read_uncommitted": "[a aborted aborted too b c last]",
	} {
		o := leatWith(t.Context(), p.with("--topic", "t", "--isolation", isolation)...)
		o.want(t, 0)
		if got := fmt.Sprint(o.values(t)); got != want {
			t.Errorf("%s: %s, want %s", isolation, got, want)
		}
	}
	o := leatWith(t.Context(), p.with("--topic", "t")...)
	if got := fmt.Sprint(o.values(t)); got != "[a b c]" {
		t.Errorf("by default: %s", got)
	}
}

// Several topics and partitions, and where to begin.
func TestCatWhere(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t", Partitions: 3}, embedded.Topic{Name: "u"}, embedded.Topic{Name: "empty"})
	at := time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)
	for i := range 4 {
		for part := range int32(3) {
			p.Produce(checktest.To(part, &kgo.Record{Topic: "t", Value: fmt.Appendf(nil, "%d-%d", part, i), Timestamp: at.Add(time.Duration(i) * time.Hour)}))
		}
	}
	p.Produce(&kgo.Record{Topic: "u", Value: []byte("u")})
	for _, tt := range []struct{ flags, want string }{
		{"--topic t --partition 1", "[1-0 1-1 1-2 1-3]"},
		{"--topic t --partition 2,1 --from 3", "[1-3 2-3]"},
		{"--topic t --partition 1 --from earliest --max 2", "[1-0 1-1]"},
		{"--topic t --partition 1 --max 9", "[1-0 1-1 1-2 1-3]"},
		{"--topic t --from latest", "[]"},
		{"--topic t --partition 0 --from 2026-01-31T10:00:00Z", "[0-2 0-3]"},
		{"--topic t --partition 0 --from 2026-01-31T12:00:00+01:00", "[0-3]"},
		{"--topic t --partition 0 --from 2026-01-31", "[0-0 0-1 0-2 0-3]"},
		{"--topic t --partition 0 --from 2026-02-01", "[]"},
		{"--topic t --partition 0 --from 1s", "[]"},
		{"--topic t --partition 0 --from 999999h", "[0-0 0-1 0-2 0-3]"}, // before 1970
		{"--topic empty", "[]"},
		{"--topic u,empty --topic u", "[u]"},
	} {
		o := leatWith(t.Context(), p.with(strings.Fields(tt.flags)...)...)
		o.want(t, 0)
		if got := fmt.Sprint(o.values(t)); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.flags, got, tt.want)
		}
	}
	o := leatWith(t.Context(), p.with("--topic", "t,u")...)
	o.want(t, 0)
	if got := len(o.values(t)); got != 13 {
		t.Errorf("%d records of two topics, want 13", got)
	}
	o = leatWith(t.Context(), p.with("--topic", "u", "--from", "7")...)
	o.want(t, 0)
	o.oneLine(t, "u[0]: offset 7 is not in the log yet; it ends at 1")
	o = leatWith(t.Context(), p.with("--topic", "t", "--partition", "3")...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: ", `topic "t" has 3 partitions`)
	o = leatWith(t.Context(), p.with("--topic", "absent")...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: ", "absent", "topic does not exist")
}

// A batch may begin before what is wanted, and end after it.
func TestCatWithinABatch(t *testing.T) {
	t.Parallel()
	batch := &sarama.RecordBatch{FirstOffset: 10, FirstTimestamp: time.UnixMilli(0)}
	for i := range int64(10) {
		batch.Records = append(batch.Records, &sarama.Record{OffsetDelta: i, Value: fmt.Append(nil, 10+i)})
	}
	read := cluster.Read{Partition: pipeline.Partition{Topic: "t"}, Batches: []*sarama.RecordBatch{batch}, From: 13, Next: 20}
	for _, tt := range []struct {
		o    catOptions
		end  int64
		want string
		done bool
	}{
		{catOptions{}, 17, "[13 14 15 16]", false},
		{catOptions{}, math.MaxInt64, "[13 14 15 16 17 18 19]", false},
		{catOptions{limit: 2}, 17, "[13 14]", true},
		{catOptions{limit: 4}, 17, "[13 14 15 16]", true},
	} {
		var out bytes.Buffer
		tt.o.key, tt.o.value = formatAuto, formatAuto
		c := &cat{o: &tt.o, view: &view{key: formatAuto, value: formatAuto}, enc: json.NewEncoder(&out)}
		done, err := c.print(t.Context(), read, tt.end)
		if got := fmt.Sprint(outcome{stdout: out.String()}.values(t)); err != nil || got != tt.want || done != tt.done {
			t.Errorf("%+v: %s, %v, %v; want %s", tt.o, got, done, err, tt.want)
		}
	}
}

// It follows until it is told to stop, and that is no error.
func TestCatFollows(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t", Partitions: 2})
	p.Produce(&kgo.Record{Topic: "t", Value: []byte("before")})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, p.with("--topic", "t", "--follow"), in, io.Discard)
		_ = in.Close()
	}()
	lines := json.NewDecoder(out)
	next := func(want string) {
		t.Helper()
		var l struct{ Value string }
		if err := lines.Decode(&l); err != nil || l.Value != want {
			t.Fatalf("read %q and %v, want %q", l.Value, err, want)
		}
	}
	next("before")
	for i := range 3 {
		p.Produce(checktest.To(int32(i%2), &kgo.Record{Topic: "t", Value: fmt.Append(nil, i)}))
		next(fmt.Sprint(i))
	}
	began := time.Now()
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > lookUpLimit {
		t.Errorf("it took %v to stop", took)
	}
}

// A leader that moves meanwhile is found again.
func TestCatFindsANewLeader(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	p.Produce(&kgo.Record{Topic: "t", Value: []byte("0")})
	out, in := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, p.with("--topic", "t", "--follow"), in, io.Discard)
		_ = in.Close()
	}()
	defer func() {
		stop()
		if code := <-ended; code != 0 {
			t.Errorf("exit code %d", code)
		}
	}()
	lines := json.NewDecoder(out)
	for i := range 4 {
		var l struct{ Value string }
		if err := lines.Decode(&l); err != nil || l.Value != fmt.Sprint(i) {
			t.Fatalf("read %q and %v, want %d", l.Value, err, i)
		}
		if err := p.fake.Fake().MoveTopicPartition("t", 0, int32(i%2)); err != nil {
			t.Fatal(err)
		}
		p.Produce(&kgo.Record{Topic: "t", Value: fmt.Append(nil, i+1)})
	}
}

// A batch that is larger than what is asked for of a partition.
func TestCatLargeBatches(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t", Partitions: 3, Config: map[string]string{"max.message.bytes": "20000000"}})
	k, err := kgo.NewClient(kgo.SeedBrokers(p.fake.Brokers()...), kgo.ProducerBatchMaxBytes(20_000_000), kgo.BrokerMaxWriteBytes(30_000_000),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	large := make([]byte, 9<<20)
	for i := range 6 {
		if err := k.ProduceSync(t.Context(), &kgo.Record{Topic: "t", Partition: int32(i % 3), Value: large}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	o := leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 0)
	if n := strings.Count(o.stdout, "\n"); n != 6 {
		t.Errorf("%d records, want 6", n)
	}
}

// A registry that does not answer ends it: nothing is printed as if it were bytes.
func TestCatWithoutAnAnsweringRegistry(t *testing.T) {
	t.Parallel()
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "t"}
	value, _ := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"string"`)), false, any("hello"))
	p.Produce(&kgo.Record{Topic: "t", Value: []byte("text")}, &kgo.Record{Topic: "t", Value: value})
	failures := 2 // which are tried again
	p.fake.Registry().Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		if failures--; failures < 0 {
			return false
		}
		http.Error(rw, "down", http.StatusServiceUnavailable)
		return true
	})
	o := leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 0)
	if got := fmt.Sprint(o.values(t)); got != "[text hello]" {
		t.Errorf("printed %s", got)
	}
	p.fake.Registry().Intercept(func(rw http.ResponseWriter, _ *http.Request) bool {
		http.Error(rw, "down", http.StatusServiceUnavailable)
		return true
	})
	o = leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: t[0], offset 1: value: ", "the registry does not answer")
	if got := fmt.Sprint(o.values(t)); got != "[text]" {
		t.Errorf("printed %s", got)
	}
}

func TestCatBadFlags(t *testing.T) {
	good := []string{"cat", "--brokers", "127.0.0.1:1", "--topic", "a"}
	with := func(more ...string) []string { return append(append([]string(nil), good...), more...) }
	for _, tt := range []struct {
		args []string
		says string
	}{
		{good[:3], "--topic is required"},
		{append([]string{"cat"}, good[3:]...), "--brokers is required"},
		{with("--topic", "a,,b"), "an empty name"},
		{with("--brokers", "no-port"), "no-port"},
		{with("--partition", "x"), "want a number"},
		{with("--partition", "-1"), "want a number"},
		{with("--from", "yesterday"), "want earliest"},
		{with("--from", "-1h"), "want earliest"},
		{with("--max", "-1"), "negative"},
		{with("--isolation", "none"), "read_uncommitted"},
		{with("--key", "xml"), `not "xml"`},
		{with("--value", "avro"), "--value avro needs --registry"},
		{with("--registry", "ftp://x"), "http"},
		{with("--registry-user", "u"), "need --registry"},
		{with("--registry", "http://x", "--registry-ca", "/nowhere.pem"), "/nowhere.pem"},
		{with("stray"), "stray"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			o := leatWith(t.Context(), tt.args...)
			o.want(t, 2)
			o.oneLine(t, "leat cat: ", tt.says)
		})
	}
}

// The credentials come from the environment, and no error shows them.
func TestCatRegistryCredentials(t *testing.T) {
	p := newCatPlace(t, embedded.Topic{Name: "t"})
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "t"}
	value, _ := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"string"`)), false, any("hello"))
	p.Produce(&kgo.Record{Topic: "t", Value: value})
	p.fake.Registry().Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "u" && password == "s3cret" || r.Header.Get("Authorization") == "Bearer t0ken" {
			return false
		}
		http.Error(rw, "no", http.StatusUnauthorized)
		return true
	})
	o := leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 1)
	o.oneLine(t, "the registry refuses the credentials")
	t.Setenv(registryToken, "t0ken")
	leatWith(t.Context(), p.with("--topic", "t")...).want(t, 0)
	t.Setenv(registryToken, "wr0ng")
	o = leatWith(t.Context(), p.with("--topic", "t")...)
	o.want(t, 1)
	if strings.Contains(o.stderr, "wr0ng") {
		t.Errorf("it shows the token: %s", o.stderr)
	}
	t.Setenv(registryPassword, "s3cret")
	leatWith(t.Context(), p.with("--topic", "t", "--registry-user", "u")...).want(t, 0)
}
