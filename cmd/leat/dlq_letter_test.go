package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

func TestOffsets(t *testing.T) {
	for text, want := range map[string]string{
		"7": "7", "17-25,40": "17-25,40", "40,17-25": "17-25,40", "1-3,2-9": "1-9", "1-3,4": "1-4", "5-9,6": "5-9", "0": "0",
		"9223372036854775806": "9223372036854775806",
		"":                    "", "a": "", "-1": "", "3-1": "", "1,,2": "", "1-": "", "+1": "", "9223372036854775808": "",
	} {
		o, err := parseOffsets(text)
		if got := o.String(); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	o, _ := parseOffsets("3,5-7,20-21")
	var has, again offsets
	for i := range int64(30) {
		if o.has(i) {
			has = append(has, span{i, i})
			again = again.add(i)
		}
	}
	if got := has.sorted().String(); got != "3,5-7,20-21" || again.String() != got {
		t.Errorf("it has %s, added one by one %s", got, again)
	}
}

// letterRecord is a dead letter as it is found.
func letterRecord(offset int64, key string, headers ...string) found {
	r := found{&sarama.Record{Key: []byte(key), Value: []byte("v")}, pipeline.Partition{Topic: "dlq", Partition: 1}, offset, time.UnixMilli(5)}
	for i := 0; i < len(headers); i += 2 {
		r.Headers = append(r.Headers, &sarama.RecordHeader{Key: []byte(headers[i]), Value: []byte(headers[i+1])})
	}
	return r
}

func TestLetterOrNot(t *testing.T) {
	l, is := letterOf(letterRecord(3, "k", "leat.topic", "old", "leat.pipeline", "p", "leat.stage", "s", "leat.error", "e", "leat.topic", "orders",
		"leat.partition", "2", "leat.offset", "9", "leat.timestamp", "1700000000123", "leat.redriven", "4"))
	if !is || l.pipeline != "p" || l.stage != "s" || l.reason != "e" || fmt.Sprint(l.origin) != "orders[2]" || l.originOffset != 9 || l.made.UnixMilli() != 1700000000123 || l.redriven != 4 {
		t.Errorf("%v: %+v", is, l)
	}
	for _, headers := range [][]string{
		{}, {"leat.topic", "orders", "leat.partition", "2"}, {"leat.topic", "orders", "leat.offset", "2"},
		{"leat.partition", "2", "leat.offset", "9"}, {"leat.topic", "orders", "leat.partition", "x", "leat.offset", "9"},
	} {
		if _, is := letterOf(letterRecord(3, "k", headers...)); is {
			t.Errorf("%v is a letter", headers)
		}
	}
}

func TestMarkerOrNot(t *testing.T) {
	bare := func(headers ...string) found {
		r := letterRecord(3, "", headers...)
		r.Key, r.Value = nil, nil
		return r
	}
	for _, tt := range []struct {
		r    found
		done string
		is   bool
	}{
		{bare("leat.redriven.offsets", "1-2,9", "leat.redriven.topic", "id"), "1-2,9", true},
		{bare("leat.redriven.offsets", "1-2,9"), "1-2,9", true}, // of brokers without ids
		{bare("leat.redriven.offsets", "1-2,9", "leat.redriven.topic", "of the topic that this is a mirror of"), "", true},
		{bare("leat.redriven.offsets", "wrong"), "", false},
		{bare(), "", false},
		{letterRecord(3, "k", "leat.redriven.offsets", "1-2"), "", false},
		{bare("leat.redriven.offsets", "1-2", "leat.topic", "dlq", "leat.partition", "0", "leat.offset", "3"), "", false}, // a letter of a marker
	} {
		done, is := markedBy(tt.r, "id")
		if done.String() != tt.done || is != tt.is {
			t.Errorf("%v: %q, %v", tt.r.Headers, done, is)
		}
	}
}

func TestLetterFilter(t *testing.T) {
	l, _ := letterOf(letterRecord(17, "k", "leat.pipeline", "p", "leat.stage", "check", "leat.error", "price is -3", "leat.topic", "orders",
		"leat.partition", "2", "leat.offset", "9", "leat.timestamp", "1767225600000")) // 2026-01-01T00:00:00Z
	for flags, want := range map[string]bool{
		"": true, "-pipeline p": true, "-pipeline q": false, "-stage check": true, "-stage chec": false, "-from-topic orders": true, "-from-topic dlq": false,
		"-error price": true, "-error Price": false, "-error-regexp ^price.*[0-9]$": true, "-error-regexp ^is": false,
		"-partition 1": true, "-partition 2": false, "-partition 0-3": true, "-offset 17": true, "-offset 9": false, "-offset 1-16,18-": false,
		"-since 2026-01-01": true, "-since 2026-01-01T00:00:01Z": false, "-until 2026-01-01": false, "-until 2026-01-01T00:00:01Z": true,
		"-since 999999h": true, "-until 999999h": false, "-stage check -error price -offset 17 -partition 2": false,
	} {
		var f letterFilter
		fs := flag.NewFlagSet("", flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		f.flags(fs)
		if err := fs.Parse(strings.Fields(flags)); err != nil {
			if !strings.Contains(flags, "18-") {
				t.Errorf("%s: %v", flags, err)
			}
			continue
		}
		if got := f.matches(l); got != want {
			t.Errorf("%s: %v", flags, got)
		}
	}
	for _, tt := range []struct {
		want       string
		key, shown string
		matches    bool
	}{
		{"k", "k", `"k"`, true}, {"k", "kk", `"kk"`, false}, {"7", "\x00\x00\x00\x00\x01\x0e", `7`, true}, {"a", "\x00\x00\x00\x00\x01\x02a", `"a"`, true},
		{`{"id":1}`, "\x00\x00\x00\x00\x01\x02", `{"id":1}`, true}, {"null", "", "null", true},
	} {
		f := letterFilter{key: tt.want}
		if got := f.matchesKey([]byte(tt.key), json.RawMessage(tt.shown)); got != tt.matches {
			t.Errorf("%s of %q, shown as %s: %v", tt.want, tt.key, tt.shown, got)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	for reason, want := range map[string]string{
		"unknown schema id 17":                                "unknown schema id #",
		"order 7f3a9c12-aaaa-bbbb-cccc-0123456789ab is wrong": "order # is wrong",
		"price -3.50 of eu-west:17":                           "price -# of eu-west:#",
		"at 10.0.0.1:9092":                                    "at #:#",
		"effaced decade":                                      "effaced decade",
		"":                                                    "",
	} {
		if got := errorKind(reason); got != want {
			t.Errorf("%q is %q, want %q", reason, got, want)
		}
	}
	if got := errorKind(strings.Repeat("ä", 3000)); len(got) > maxErrorText+len("…") || !strings.HasSuffix(got, "ä…") {
		t.Errorf("it has %d bytes: %q", len(got), got)
	}
	if got := inLine("a\tb\nc\x1b[31md"); got != "a b c [31md" {
		t.Errorf("in a line: %q", got)
	}
}

// However many errors there are, the groups are bounded.
func TestGroupsAreBounded(t *testing.T) {
	var g letterGroups
	for i := range 3 * maxGroups {
		g.add(&letter{reason: strings.Repeat("x", i%100) + strings.Repeat("y", i/100), made: time.UnixMilli(int64(i))}, "")
	}
	all := g.sorted()
	if len(all) != maxGroups+1 || g.count() != 3*maxGroups || all[0].Error != otherErrors || all[0].Count != 2*maxGroups || *all[0].Last != "1970-01-01T00:00:02.999Z" {
		t.Errorf("%d groups with %d letters, the first is %+v", len(all), g.count(), all[0])
	}
}
