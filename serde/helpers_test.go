package serde_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// Order is what most tests encode.
type Order struct {
	OrderID    string    `avro:"order_id" json:"order_id"`
	CustomerID string    `avro:"customer_id" json:"customer_id"`
	Amount     int64     `avro:"amount_cents" json:"amount_cents"`
	Status     Status    `avro:"status" json:"status"`
	CreatedAt  time.Time `avro:"created_at" json:"created_at"`
	Note       *string   `avro:"note" json:"note"`
	Tags       []string  `avro:"tags" json:"tags"`
}

type Status string

const orderAvsc = `{"type":"record","name":"Order","fields":[
	{"name":"order_id","type":"string"},
	{"name":"customer_id","type":"string"},
	{"name":"amount_cents","type":"long"},
	{"name":"status","type":{"type":"enum","name":"Status","symbols":["NEW","PAID","CANCELLED"]}},
	{"name":"created_at","type":{"type":"long","logicalType":"timestamp-millis"}},
	{"name":"note","type":["null","string"],"default":null},
	{"name":"tags","type":{"type":"array","items":"string"}}]}`

const secret = "s3cr3t-c4nary"

func orders() []Order {
	note := secret
	at := time.UnixMilli(1_700_000_000_123).UTC()
	return []Order{
		{OrderID: "eu-west:1", CustomerID: "c-1", Amount: 1999, Status: "PAID", CreatedAt: at, Note: &note, Tags: []string{"a", secret}},
		{OrderID: "", CustomerID: strings.Repeat("x", 300), Amount: -1 << 60, Status: "NEW", CreatedAt: time.UnixMilli(0).UTC(), Tags: []string{}},
	}
}

func orderEqual(a, b Order) bool {
	if a.OrderID != b.OrderID || a.CustomerID != b.CustomerID || a.Amount != b.Amount || a.Status != b.Status || !a.CreatedAt.Equal(b.CreatedAt) {
		return false
	}
	if (a.Note == nil) != (b.Note == nil) || a.Note != nil && *a.Note != *b.Note {
		return false
	}
	return strings.Join(a.Tags, "\x00") == strings.Join(b.Tags, "\x00") && len(a.Tags) == len(b.Tags)
}

func newFake(t testing.TB) (*srfake.Registry, *registry.Client) {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	return fake, newClient(t, fake.URL())
}

func newClient(t testing.TB, url string) *registry.Client {
	t.Helper()
	reg, err := registry.New(registry.Config{URLs: []string{url}})
	check(t, err)
	return reg
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantIs(t testing.TB, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want one that is %q", err, target)
	}
}

func wantClass(t testing.TB, err error, class string) {
	t.Helper()
	got := "the record's"
	switch {
	case err == nil:
		got = "none"
	case pipeline.IsRetriable(err):
		got = "retriable"
	case pipeline.IsFatal(err):
		got = "fatal"
	}
	if got != class {
		t.Fatalf("error %v: class %s, want %s", err, got, class)
	}
}

func value(topic string) pipeline.Slot { return pipeline.Slot{Topic: topic} }

func avroSchema(text string) sr.Schema { return sr.Schema{Schema: text, Type: sr.TypeAvro} }

func encode[T any](t testing.TB, s serde.Serde[T], topic string, v T) []byte {
	t.Helper()
	b, err := s.Append(t.Context(), []byte{}, value(topic), v)
	check(t, err)
	return b
}
