package main

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/watermill"
)

func TestReport(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, []string{"-n", "2000", "-before", "200", "-rounds", "3"}); err != nil {
		t.Fatal(err)
	}
	want := `^before: +200 records, +\d+ records/s  watermill-kafka, Router, at least once
after: +2000 records, +\d+ records/s  Leat, pipeline, exactly once
\d+ times as many \(medians of 3\)
$`
	if !regexp.MustCompile(want).MatchString(out.String()) {
		t.Errorf("the report is %q", out.String())
	}
	if err := run(t.Context(), &out, []string{"-n", "200", "-before", "100", "-at-least", "1e9"}); err == nil {
		t.Error("no error for less than a billion times as many")
	}
	if err := run(t.Context(), &out, []string{"-n", "1", "-before", "2"}); err == nil {
		t.Error("no error for more records before than after")
	}
}

// Both make the same records of the same messages.
func TestSameOutputs(t *testing.T) {
	kafka, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	const n = 500
	const in = "payments"
	outs := []string{"before", "after"}
	if err := fill(options{brokers: kafka.Brokers(), n: n}, append([]string{in}, outs...)); err != nil {
		t.Fatal(err)
	}
	if _, err := runBefore(t.Context(), kafka.Brokers(), in, "before", n); err != nil {
		t.Fatal(err)
	}
	if _, _, err := runAfter(t.Context(), kafka.Brokers(), in, "after"); err != nil {
		t.Fatal(err)
	}
	// Leat's subscriber reads what watermill-kafka has written; the Router did the reverse.
	subscriber, err := watermill.NewSubscriber(watermill.SubscriberConfig{Brokers: kafka.Brokers()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer subscriber.Close()
	messages, err := subscriber.Subscribe(t.Context(), "before")
	if err != nil {
		t.Fatal(err)
	}
	msg := <-messages
	if !strings.HasPrefix(msg.UUID, "payment-") || msg.Metadata["size"] == "" || msg.Metadata["correlation_id"] != msg.UUID {
		t.Errorf("message %s has metadata %v", msg.UUID, msg.Metadata)
	}
	msg.Ack()

	c := checktest.Dial(t, kafka.Brokers())
	var got [2][]string
	for i, topic := range outs {
		for _, r := range c.ReadAll(topic) {
			var headers []string
			for _, h := range r.Headers {
				headers = append(headers, h.Key+"="+string(h.Value))
			}
			slices.Sort(headers) // watermill-kafka writes them as its map has them
			got[i] = append(got[i], fmt.Sprintf("%s %s %s", r.Key, r.Value, strings.Join(headers, " ")))
		}
		slices.Sort(got[i])
		got[i] = slices.Compact(got[i]) // at least once
	}
	if len(got[0]) != n || !slices.Equal(got[0], got[1]) {
		t.Errorf("%d and %d different records, want the same %d", len(got[0]), len(got[1]), n)
	}
}
