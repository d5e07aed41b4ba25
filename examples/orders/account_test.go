package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hamba/avro/v2"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
)

// The account is kept by other means than the job's: franz-go reads the topics and
// hashes the keys, hamba/avro decodes what the committed schemas describe, and the
// rules are written down once more. Nothing here calls Order's methods.

// flatOrder is an enriched order as another program would declare it.
type flatOrder struct {
	OrderID      string    `avro:"order_id"`
	CustomerID   string    `avro:"customer_id"`
	Region       string    `avro:"region"`
	AmountCents  int64     `avro:"amount_cents"`
	Currency     string    `avro:"currency"`
	Status       string    `avro:"status"`
	CreatedAt    time.Time `avro:"created_at"`
	CustomerName string    `avro:"customer_name"`
	Tier         string    `avro:"tier"`
	Country      string    `avro:"country"`
}

type flatCustomer struct {
	CustomerID string `avro:"customer_id"`
	Name       string `avro:"name"`
	Tier       string `avro:"tier"`
	Country    string `avro:"country"`
}

// fate is what has to become of an order.
type fate struct {
	in        *kgo.Record
	topic     string // "" if it is dropped
	stage     string // of a dead letter
	partition int32  // -1 for any
	value     flatOrder
}

// account is what was found in the topics, for comparison with a report.
type account struct {
	in, dropped int
	// cells counts by topic and then by region, as the report's table does.
	cells map[string]map[string]int
	// causes counts the dead letters by stage.
	causes map[string]int
}

type auditor struct {
	t         *testing.T
	registry  *sr.Client
	known     map[uint32]bool // schema ids
	order     avro.Schema
	enriched  avro.Schema
	customers map[string]flatCustomer
}

func newAuditor(t *testing.T, s servers) *auditor {
	t.Helper()
	reg, err := sr.NewClient(sr.URLs(s.registry))
	check(t, err)
	return &auditor{
		t: t, registry: reg, known: map[uint32]bool{}, customers: map[string]flatCustomer{},
		order: avro.MustParse(orderAvsc), enriched: avro.MustParse(enrichedAvsc),
	}
}

// audit checks that every order in the input is exactly once where it belongs, as
// it should be, and that nothing else is there.
func audit(t *testing.T, s servers) account {
	t.Helper()
	a := newAuditor(t, s)
	all := readAll(t, s.brokers, "orders", "customers", "orders.enriched", "orders.review", "orders.dlq")
	schema := avro.MustParse(customerAvsc)
	for _, r := range all["customers"] {
		var c flatCustomer
		if !a.decode(schema, r.Value, &c) || c.CustomerID != string(r.Key) {
			t.Fatalf("customer %q cannot be decoded", r.Key)
		}
		a.customers[c.CustomerID] = c
	}

	out := account{in: len(all["orders"]), cells: map[string]map[string]int{}, causes: map[string]int{}}
	byID, byOffset := map[string]*fate{}, map[string]*fate{}
	for _, r := range all["orders"] {
		f := a.judge(r)
		switch f.topic {
		case "":
			out.dropped++
		case "orders.dlq":
			byOffset[fmt.Sprintf("%d/%d", r.Partition, r.Offset)] = f
			out.causes[f.stage]++
		default:
			if byID[f.value.OrderID] != nil {
				t.Fatalf("order id %q twice in the input: the account needs them unique", f.value.OrderID)
			}
			byID[f.value.OrderID] = f
		}
	}
	for _, topic := range []string{"orders.enriched", "orders.review", "orders.dlq"} {
		out.cells[topic] = map[string]int{}
		for _, r := range all[topic] {
			region, _, named := strings.Cut(string(r.Key), ":")
			if !named || !slices.Contains([]string{"us-east", "us-west", "eu-west", "ap-south"}, region) {
				region = "other"
			}
			out.cells[topic][region]++
			if topic == "orders.dlq" {
				a.settle(r, byOffset, header(r, "leat.partition")+"/"+header(r, "leat.offset"))
				continue
			}
			var o flatOrder
			if !a.decode(a.enriched, r.Value, &o) {
				t.Errorf("%s: value cannot be decoded", place(r))
				continue
			}
			if f := a.settle(r, byID, o.OrderID); f != nil && o != f.value {
				t.Errorf("%s:\n got %+v\nwant %+v", place(r), o, f.value)
			}
		}
	}
	for id, f := range maps.All(byID) {
		t.Errorf("order %q of %s is missing in %s", id, place(f.in), f.topic)
	}
	for _, f := range byOffset {
		t.Errorf("the dead letter of %s is missing", place(f.in))
	}
	return out
}

// settle finds the fate that an output record fulfils, which no other may, and
// checks all but the value of an order.
func (a *auditor) settle(r *kgo.Record, fates map[string]*fate, key string) *fate {
	f := fates[key]
	if f == nil {
		a.t.Errorf("%s: nothing in the input for %q, or its second output", place(r), key)
		return nil
	}
	delete(fates, key)
	if f.topic != r.Topic {
		a.t.Errorf("%s: belongs into %s", place(r), f.topic)
	}
	if f.partition >= 0 && r.Partition != f.partition {
		a.t.Errorf("%s, key %q: belongs into partition %d", place(r), r.Key, f.partition)
	}
	if !same(r.Key, f.in.Key) {
		a.t.Errorf("%s: key %q, was %q", place(r), r.Key, f.in.Key)
	}
	// That of the dead letters' topic is its log's (topics.go); theirs is in a header.
	if appended := r.Topic == "orders.dlq" && r.Timestamp.After(f.in.Timestamp); !appended && !r.Timestamp.Equal(f.in.Timestamp) {
		a.t.Errorf("%s: timestamp %v, was %v", place(r), r.Timestamp, f.in.Timestamp)
	}
	want := f.in.Headers
	if r.Topic == "orders.dlq" {
		if !same(r.Value, f.in.Value) {
			a.t.Errorf("%s: value % x, was % x", place(r), r.Value, f.in.Value)
		}
		want = deadLetterHeaders(f, header(r, "leat.error"))
		if header(r, "leat.error") == "" {
			a.t.Errorf("%s: no leat.error", place(r))
		}
	}
	if !slices.EqualFunc(r.Headers, want, func(x, y kgo.RecordHeader) bool { return x.Key == y.Key && bytes.Equal(x.Value, y.Value) }) {
		a.t.Errorf("%s:\n got headers %s\nwant         %s", place(r), r.Headers, want)
	}
	return f
}

func deadLetterHeaders(f *fate, text string) []kgo.RecordHeader {
	kept := slices.DeleteFunc(slices.Clone(f.in.Headers), func(h kgo.RecordHeader) bool { return strings.HasPrefix(h.Key, "leat.") })
	for _, h := range [][2]string{
		{"leat.pipeline", "orders-by-region"},
		{"leat.stage", f.stage},
		{"leat.error", text},
		{"leat.topic", "orders"},
		{"leat.partition", fmt.Sprint(f.in.Partition)},
		{"leat.offset", fmt.Sprint(f.in.Offset)},
		{"leat.timestamp", fmt.Sprint(f.in.Timestamp.UnixMilli())},
	} {
		kept = append(kept, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	return kept
}

// judge says what has to become of an order.
func (a *auditor) judge(r *kgo.Record) *fate {
	f := &fate{in: r, topic: "orders.dlq", partition: -1}
	if r.Key != nil {
		f.partition = murmur2Partition(r.Key)
	}
	o := &f.value
	var in struct {
		OrderID     string    `avro:"order_id"`
		CustomerID  string    `avro:"customer_id"`
		Region      string    `avro:"region"`
		AmountCents int64     `avro:"amount_cents"`
		Currency    string    `avro:"currency"`
		Status      string    `avro:"status"`
		CreatedAt   time.Time `avro:"created_at"`
	}
	if !a.decode(a.order, r.Value, &in) {
		f.stage = "orders"
		return f
	}
	o.OrderID, o.CustomerID, o.Region, o.AmountCents, o.Currency, o.Status, o.CreatedAt = in.OrderID, in.CustomerID, in.Region, in.AmountCents, in.Currency, in.Status, in.CreatedAt
	if o.AmountCents <= 0 || len(o.Currency) != 3 || strings.Trim(o.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		f.stage = "validate"
		return f
	}
	if o.Status != "PAID" {
		f.topic = ""
		return f
	}
	c, ok := a.customers[o.CustomerID]
	if !ok {
		f.stage = "customer"
		return f
	}
	o.CustomerName, o.Tier, o.Country = c.Name, c.Tier, c.Country
	if o.AmountCents >= 1_000_000 {
		f.topic = "orders.review"
		return f
	}
	f.topic = "orders.enriched"
	region, _, named := strings.Cut(string(r.Key), ":")
	if fixed, ok := map[string]int32{"us-east": 0, "us-west": 1, "eu-west": 2, "ap-south": 3}[region]; ok && named {
		f.partition = fixed
	}
	return f
}

// decode reads Confluent's wire format. What does not encode to the same bytes
// again was not whole: hamba/avro accepts some that are cut off.
func (a *auditor) decode(schema avro.Schema, data []byte, v any) bool {
	if len(data) < 5 || data[0] != 0 || !a.knows(binary.BigEndian.Uint32(data[1:])) {
		return false
	}
	if err := avro.Unmarshal(schema, data[5:], v); err != nil {
		return false
	}
	again, err := avro.Marshal(schema, v)
	return err == nil && bytes.Equal(again, data[5:])
}

func (a *auditor) knows(id uint32) bool {
	known, asked := a.known[id]
	if !asked {
		_, err := a.registry.SchemaByID(a.t.Context(), int(id))
		known = err == nil
		a.known[id] = known
	}
	return known
}

var javaPartitioner = kgo.StickyKeyPartitioner(nil).ForTopic("")

func murmur2Partition(key []byte) int32 {
	return int32(javaPartitioner.Partition(&kgo.Record{Key: key}, topicPartitions))
}

// same tells null and empty apart.
func same(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }

func header(r *kgo.Record, key string) string {
	value := ""
	for _, h := range r.Headers {
		if h.Key == key {
			value = string(h.Value)
		}
	}
	return value
}

func place(r *kgo.Record) string { return fmt.Sprintf("%s[%d]@%d", r.Topic, r.Partition, r.Offset) }
