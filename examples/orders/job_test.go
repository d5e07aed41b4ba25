package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/sinks/kafka"
)

// produce writes generated orders and, by a client of another make, the ones that
// a generator does not think of.
func produce(t *testing.T, s servers, n int) {
	t.Helper()
	check(t, generate(t.Context(), kafka.Config{Brokers: s.brokers}, s.client(t), n, 7, io.Discard))

	reg, err := sr.NewClient(sr.URLs(s.registry))
	check(t, err)
	id, err := reg.RegisterSchema(t.Context(), "orders-value", sr.Schema{Schema: orderAvsc}, -1, -1)
	check(t, err)
	schema := avro.MustParse(orderAvsc)
	encode := func(order string, amount int64) []byte {
		body, err := avro.Marshal(schema, map[string]any{
			"order_id": order, "customer_id": customerID(1), "region": "us-east", "amount_cents": amount,
			"currency": "USD", "status": "PAID", "created_at": time.UnixMilli(1_700_000_000_123),
		})
		check(t, err)
		return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), body...)
	}
	twice := []kgo.RecordHeader{{Key: "h", Value: []byte("1")}, {Key: "x", Value: nil}, {Key: "h", Value: []byte("2")}}
	at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	records := []*kgo.Record{
		{Key: []byte("us-east:limit"), Value: encode("limit", 1_000_000)},
		{Key: []byte("us-east:below"), Value: encode("below", 999_999)},
		{Key: []byte("ap-south:headers"), Value: encode("headers", 5), Headers: twice, Timestamp: at},
		{Key: []byte("mars:unmapped"), Value: encode("unmapped", 5)},
		{Key: []byte(":leading"), Value: encode("leading", 5)},
		{Key: []byte("eu-west"), Value: encode("no-colon", 5)},
		{Key: []byte{}, Value: encode("empty-key", 5)},
		{Key: nil, Value: encode("null-key", 5)},
		{Key: nil, Value: encode("null-key-review", 2_000_000)},
		{Key: nil, Value: []byte("null key, bad value")},
		{Key: []byte("us-west:more"), Value: append(encode("more", 5), 0)},
		{Key: []byte("us-west:again"), Value: []byte{0, 0, 0}, Timestamp: at, Headers: append(twice[:2:2],
			kgo.RecordHeader{Key: "leat.error", Value: []byte("of another pipeline")}, kgo.RecordHeader{Key: "leat.stage", Value: []byte("s")}, twice[2])},
	}
	for _, r := range records {
		r.Topic = "orders"
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(s.brokers...))
	check(t, err)
	defer client.Close()
	check(t, client.ProduceSync(t.Context(), records...).FirstErr())
}

// wantReport checks the report's table against the account.
func wantReport(t *testing.T, report string, a account) {
	t.Helper()
	rows := map[string]bool{}
	for line := range strings.Lines(report) {
		rows[strings.Join(strings.Fields(line), " ")] = true
	}
	for topic, cells := range a.cells {
		row, sum := topic, 0
		for _, region := range []string{"us-east", "us-west", "eu-west", "ap-south", "other"} {
			row += " " + thousands(int64(cells[region]))
			sum += cells[region]
		}
		if row += " " + thousands(int64(sum)); !rows[row] {
			t.Errorf("the report lacks the row %q:\n%s", row, report)
		}
	}
	if !rows["topic us-east us-west eu-west ap-south other all"] {
		t.Errorf("the report has not the table's head:\n%s", report)
	}
}

func wantWords(t *testing.T, report string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(report, w) {
			t.Errorf("the report lacks %q:\n%s", w, report)
		}
	}
}

func TestEveryOrderOnce(t *testing.T) {
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			t.Parallel()
			s := startEmbedded(t)
			produce(t, s, 3000)
			flags := s.flags("-until-end", "-delivery", delivery, "-commit-interval", "20ms", "-instance", "one")
			report := mustRun(t, flags...)
			a := audit(t, s)
			wantReport(t, report, a)
			wantWords(t, report, "3,012 orders in ", delivery, " records/s")
			if a.in != 3012 || a.dropped == 0 || a.cells["orders.review"]["us-east"] == 0 {
				t.Errorf("account %+v", a)
			}
			for stage, n := range a.causes {
				wantWords(t, report, fmt.Sprintf("%d dead letters from stage %s\n", n, stage))
			}
			if len(a.causes) != 3 {
				t.Errorf("dead letters by stage: %v", a.causes)
			}

			// A second run of the same group finds nothing to do and adds nothing.
			wantWords(t, mustRun(t, flags...), "\n0 orders in ")
			if b := audit(t, s); b.in != a.in {
				t.Errorf("%d orders, then %d", a.in, b.in)
			}
		})
	}
}

// What the command at the top of the README shows.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	code, report, progress := orders(t, "-n", "2000", "-seed", "3")
	if code != 0 {
		t.Fatalf("exit %d:\n%s", code, progress)
	}
	wantWords(t, progress, "embedded Kafka at 127.0.0.1:", "generating 1,000 customers and 2,000 orders\n", "running orders-by-region, exactly-once\n")
	wantWords(t, report,
		"2,000 orders in ", " records/s", "us-east", "us-west", "eu-west", "ap-south", "orders.enriched", "orders.review", "orders.dlq",
		"not PAID, dropped", "dead letters by stage and reason:",
		"orders     decode avro: not in Confluent's wire format", "orders     decode avro: malformed\n",
		"orders     decode avro: unknown schema id\n", "orders     decode avro: empty", "orders     null value",
		"validate   amount_cents is not positive\n", "validate   currency is not three capital letters\n", "customer   the table has no entry",
	)
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	wantWords(t, mustRun(t, "-n", "0"), "\n0 orders in 0.00 s, exactly-once: 0 records/s")
}
