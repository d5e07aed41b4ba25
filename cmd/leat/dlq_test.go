package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/serde"
)

// dlqPlace is an embedded cluster with the topics orders, orders.dlq and else.
type dlqPlace struct{ *catPlace }

func newDLQPlace(t *testing.T) *dlqPlace {
	return &dlqPlace{newCatPlace(t, embedded.Topic{Name: "orders", Partitions: 4}, embedded.Topic{Name: "orders.dlq", Partitions: 2}, embedded.Topic{Name: "else", Partitions: 4})}
}

// dlq is a command line.
func (p *dlqPlace) dlq(command string, more ...string) []string {
	return append([]string{"dlq", command, "--brokers", strings.Join(p.fake.Brokers(), ","), "--topic", "orders.dlq"}, more...)
}

func (p *dlqPlace) run(t *testing.T, command string, more ...string) outcome {
	t.Helper()
	return leatWith(t.Context(), p.dlq(command, more...)...)
}

var lettersBegan = time.Date(2026, 1, 31, 8, 0, 0, 0, time.UTC)

// letterOn is the i-th letter, of a record of topic orders, in partition i%2.
func letterOn(topic string, i int, stage, reason string, more ...kgo.RecordHeader) *kgo.Record {
	at := lettersBegan.Add(time.Duration(i) * time.Second)
	return checktest.To(int32(i%2), &kgo.Record{
		Topic: topic, Key: fmt.Appendf(nil, "k%d", i), Value: fmt.Appendf(nil, "v%d", i), Timestamp: at,
		Headers: append(append([]kgo.RecordHeader{header("h", "1"), header("h", "2")}, more...),
			header("leat.pipeline", "pricing"), header("leat.stage", stage), header("leat.error", reason), header("leat.topic", "orders"),
			header("leat.partition", fmt.Sprint(i%4)), header("leat.offset", fmt.Sprint(100+i)), header("leat.timestamp", fmt.Sprint(at.UnixMilli()))),
	})
}

// prefill writes n letters of the stages check and rate, in turns of two.
func (p *dlqPlace) prefill(n int) {
	for i := range n {
		p.Produce(letterOn("orders.dlq", i, []string{"check", "rate"}[i/2%2], fmt.Sprintf("no rate for %d", i)))
	}
}

func foreignOn(topic string) *kgo.Record {
	return checktest.To(0, &kgo.Record{Topic: topic, Key: []byte("f"), Value: []byte("not a letter")})
}

func markerOn(topic string, partition int32, done string) *kgo.Record {
	return checktest.To(partition, &kgo.Record{Topic: topic, Headers: []kgo.RecordHeader{header("leat.redriven.offsets", done)}})
}

func TestDLQList(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	p.prefill(8)
	p.Produce(foreignOn("orders.dlq"), markerOn("orders.dlq", 1, "0-1")) // letters 1 and 3
	p.ProduceTransaction(false, letterOn("orders.dlq", 8, "check", "aborted"))
	o := p.run(t, "list")
	o.want(t, 0)
	o.wantLines(t,
		"orders.dlq: 6 open, 6 of them match; 2 redriven, 1 foreign",
		"COUNT  PIPELINE  STAGE  TOPIC   FIRST                 LAST                  ERROR",
		"3      pricing   check  orders  2026-01-31T08:00:00Z  2026-01-31T08:00:05Z  no rate for #",
		"3      pricing   rate   orders  2026-01-31T08:00:02Z  2026-01-31T08:00:07Z  no rate for #")
	o = p.run(t, "list", "-json", "-stage", "check", "-since", "2026-01-31T08:00:04Z")
	o.want(t, 0)
	var list letterList
	if err := json.Unmarshal([]byte(o.stdout), &list); err != nil {
		t.Fatal(err)
	}
	if list.Open != 6 || list.Matching != 2 || list.Redriven != 2 || list.Foreign != 1 || len(list.Groups) != 1 {
		t.Errorf("it lists %s", o.stdout)
	}
	o = p.run(t, "list", "-error", "nothing has this")
	o.want(t, 0)
	o.wantLines(t, "orders.dlq: 6 open, 0 of them match; 2 redriven, 1 foreign")
}

func TestDLQShow(t *testing.T) {
	t.Parallel()
	p := newDLQPlace(t)
	w := &formatWriter{t: t, to: p.Client, reg: p.reg, topic: "orders"}
	value, _ := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"string"`)), false, any("hello"))
	key, _ := formatEncode(w, serde.AvroAny(p.reg, serde.Schema(`"long"`)), true, any(int64(7)))
	avro := letterOn("orders.dlq", 0, "check", "no")
	avro.Key, avro.Value = key, value
	tombstone := letterOn("orders.dlq", 1, "check", "no", header("leat.redriven", "2"), header("leat.retry.attempt", "3"))
	tombstone.Value = nil
	p.Produce(avro, foreignOn("orders.dlq"), letterOn("orders.dlq", 2, "check", "no"), markerOn("orders.dlq", 0, "2"), tombstone)
	const (
		first  = `{"letter":{"pipeline":"pricing","stage":"check","error":"no","topic":"orders","partition":0,"offset":100,"timestamp":"2026-01-31T08:00:00.000Z","redriven":0},"topic":"orders.dlq","partition":0,"offset":0,"timestamp":"2026-01-31T08:00:00.000Z","key":7,"keyFormat":"avro","keySchema":2,`
		second = `{"letter":{"pipeline":"pricing","stage":"check","error":"no","topic":"orders","partition":1,"offset":101,"timestamp":"2026-01-31T08:00:01.000Z","redriven":2},"topic":"orders.dlq","partition":1,"offset":0,"timestamp":"2026-01-31T08:00:01.000Z","key":"k1","keyFormat":"string",`
		mine   = `"headers":[{"key":"h","value":"1"},{"key":"h","value":"2"}]}`
		retry  = `"headers":[{"key":"h","value":"1"},{"key":"h","value":"2"},{"key":"leat.retry.attempt","value":"3"}]}`
	)
	registry := p.fake.RegistryURL()
	o := p.run(t, "show", "-registry", registry)
	o.want(t, 0)
	o.wantLines(t, first+`"value":"hello","valueFormat":"avro","valueSchema":1,`+mine, second+`"value":null,`+retry)
	o = p.run(t, "show", "-registry", registry, "-values=false")
	o.want(t, 0)
	o.wantLines(t, first+mine, second+retry)
	o = p.run(t, "show", "-registry", registry, "-key", "7", "-values=false")
	o.want(t, 0)
	o.wantLines(t, first+mine)
	o = p.run(t, "show", "-registry", registry, "-limit", "1", "-values=false")
	o.want(t, 0)
	o.wantLines(t, first+mine)
	// What cannot be decoded is shown with both errors, and is no failure.
	o = p.run(t, "show", "-registry", registry, "-value-format", "protobuf", "-offset", "0", "-partition", "0")
	o.want(t, 0)
	if !strings.Contains(o.stdout, `"error":"value: decode protobuf: the schema is of type AVRO"`) {
		t.Errorf("it shows %s", o.stdout)
	}
}

func TestDLQBadFlags(t *testing.T) {
	good := []string{"dlq", "redrive", "--brokers", "127.0.0.1:1", "--topic", "a"}
	with := func(more ...string) []string { return append(slices.Clone(good), more...) }
	for _, tt := range []struct {
		args []string
		says string
	}{
		{good[:4], "--topic is required"},
		{append([]string{"dlq", "redrive"}, good[4:]...), "--brokers is required"},
		{with("--brokers", "no-port"), "no-port"},
		{with("--offset", "9-3"), "want numbers and ranges"},
		{with("--partition", "x"), "want numbers and ranges"},
		{with("--since", "yesterday"), "want a time"},
		{with("--error-regexp", "("), "missing closing )"},
		{with("--limit", "-1"), "negative"},
		{with("--max-redrives", "-1"), "negative"},
		{with("--to", "a"), "the dead-letter topic itself"},
		{with("--key-format", "xml"), `not "xml"`},
		{with("--key-format", "avro"), "needs --registry"},
		{with("stray"), "stray"},
	} {
		o := leatWith(t.Context(), tt.args...)
		o.want(t, 2)
		o.oneLine(t, "leat dlq redrive: ", tt.says)
	}
	o := leatWith(t.Context(), "dlq", "wrong")
	o.want(t, 2)
	if !strings.Contains(o.stderr, `no command "wrong"`) || !strings.Contains(o.stderr, "redrive") {
		t.Error(o.stderr)
	}
	o = leatWith(t.Context(), "dlq", "list", "--help")
	o.want(t, 2)
	if !strings.Contains(o.stderr, "usage: leat dlq list") || !strings.Contains(o.stderr, "It changes nothing.") {
		t.Error(o.stderr)
	}
	p := newDLQPlace(t)
	o = p.run(t, "list", "--partition", "1-2")
	o.want(t, 1)
	o.oneLine(t, "leat dlq: ", "has 2 partitions")
}
