package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
)

// hospital is a cluster of three with a sound topic and one that is compressed anew.
func hospital(t *testing.T) (brokers, registry string) {
	t.Helper()
	c, err := embedded.Start(embedded.Config{
		Brokers: 3,
		Topics:  []embedded.Topic{{Name: "in"}, {Name: "out"}, {Name: "gzip", Config: map[string]string{"compression.type": "gzip"}}},
		Options: []kfake.Opt{kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "2"})},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return strings.Join(c.Brokers(), ","), c.RegistryURL()
}

func TestDoctorExitCode(t *testing.T) {
	brokers, url := hospital(t)
	sound := []string{"doctor", "--brokers", brokers, "--input", "in", "--output", "out", "--group", "g", "--registry", url}
	for _, tt := range []struct {
		more   []string
		code   int
		stdout string
	}{
		{nil, 0, "ok: brokers, versions, topics, acls, replication, min-isr, message-size, compression, partitioner, transaction-timeout, transaction-version, transactional-id, group, schema\n"},
		{[]string{"--output", "gzip"}, 1, "warning  compression  gzip     compression.type=gzip"},
		{[]string{"--output", "gzip", "--accept", "compression:gzip"}, 0, "warning (accepted)  compression  gzip"},
		{[]string{"--output", "gzip", "--compression", "gzip"}, 0, "ok: "},
		{[]string{"--output", "nowhere,gzip"}, 1, "fault    topics       nowhere"},
		{[]string{"--transaction-timeout", "1h"}, 1, "TransactionTimeout is 1h0m0s"},
		{[]string{"--batch-size", "2000000"}, 1, "BatchSize is 2000000"},
		{[]string{"--max-request-size", "2000000"}, 1, "MaxRequestSize is 2000000"},
		{[]string{"--dead-letter", "gzip", "--compression", "gzip"}, 1, "warning  cleanup  gzip     message.timestamp.type=CreateTime"},
		{[]string{"--retry", "gzip=1000h", "--compression", "gzip"}, 1, "fault    cleanup  gzip     retention.ms=604800000: records may be deleted before they are due, after 1000h0m0s"},
		{[]string{"--preset", "durable"}, 0, "ok: "},
		{[]string{"--strict"}, 0, "ok: "},
	} {
		got := leatWith(t.Context(), append(sound[:len(sound):len(sound)], tt.more...)...)
		if got.code != tt.code || !strings.Contains(got.stdout, tt.stdout) {
			t.Errorf("%v: exit code %d, want %d and %q in\n%s%s", tt.more, got.code, tt.code, tt.stdout, got.stdout, got.stderr)
		}
		if tt.code == 1 {
			got.oneLine(t, "leat doctor: ", " wrong, ")
		}
	}
}

// Its fields are what machines read.
func TestDoctorJSON(t *testing.T) {
	brokers, _ := hospital(t)
	got := leatWith(t.Context(), "doctor", "--brokers", brokers, "--output", "gzip", "--json")
	got.want(t, 1)
	var report struct {
		Sound    *bool
		Findings []map[string]any
	}
	if err := json.Unmarshal([]byte(got.stdout), &report); err != nil {
		t.Fatal(err)
	}
	if report.Sound == nil || *report.Sound {
		t.Error("it is sound")
	}
	bad := 0
	for _, f := range report.Findings {
		if f["verdict"] == "ok" {
			continue
		}
		bad++
		if f["check"] != "compression" || f["subject"] != "gzip" || f["verdict"] != "warning" || !strings.Contains(f["finding"].(string), "gzip") || !strings.Contains(f["change"].(string), "kafka-configs.sh") {
			t.Errorf("finding %v", f)
		}
	}
	if bad != 1 || len(report.Findings) < 8 {
		t.Errorf("findings %v", report.Findings)
	}
}

// What is not visible fails only where that is asked for.
func TestDoctorStrict(t *testing.T) {
	c, err := embedded.Start(embedded.Config{
		Brokers: 3, Topics: []embedded.Topic{{Name: "out"}},
		Options: []kfake.Opt{kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "two"})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	args := []string{"doctor", "--brokers", strings.Join(c.Brokers(), ","), "--output", "out"}
	leatWith(t.Context(), args...).want(t, 0)
	leatWith(t.Context(), append(args, "--strict")...).want(t, 1)
}

// What was found until the time was up is shown.
func TestDoctorTimeout(t *testing.T) {
	c, err := embedded.Start(embedded.Config{Brokers: 3, Topics: []embedded.Topic{{Name: "in"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	release := make(chan struct{})
	defer close(release)
	c.Fake().ControlKey(int16(kmsg.DescribeTransactions), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.Fake().SleepControl(func() { <-release })
		return nil, nil, false
	})
	got := leatWith(t.Context(), "doctor", "--brokers", strings.Join(c.Brokers(), ","), "--group", "g", "--input", "in", "--output", "out", "--timeout", "1s")
	got.want(t, 1)
	got.oneLine(t, "leat doctor: not all checks were made: context deadline exceeded")
	if !strings.Contains(got.stdout, "fault    topics  out") {
		t.Errorf("stdout:\n%s", got.stdout)
	}
	if got.took > lookUpLimit {
		t.Errorf("it took %v", got.took)
	}
}

func TestDoctorFlags(t *testing.T) {
	schema := filepath.Join(t.TempDir(), "out.avsc")
	if err := os.WriteFile(schema, []byte(`"string"`), 0o600); err != nil {
		t.Fatal(err)
	}
	good := []string{"doctor", "--brokers", "127.0.0.1:1", "--output", "out"}
	for _, tt := range []struct {
		more []string
		says string
	}{
		{[]string{"--brokers", "no-port"}, "no-port"},
		{[]string{"--input", "in"}, "nobody reads Inputs"},
		{[]string{"--preset", "fast"}, "--preset"},
		{[]string{"--acks", "2"}, "--acks is all, 1 or 0"},
		{[]string{"--group", "g", "--acks", "1"}, "AcksAll"},
		{[]string{"--compression", "rar"}, "--compression"},
		{[]string{"--assignment", "sticky"}, "--assignment"},
		{[]string{"--delivery", "never"}, "--delivery"},
		{[]string{"--accept", "weather"}, "weather"},
		{[]string{"--schema", "out"}, "topic=value"},
		{[]string{"--group", "g", "--retry", "out=soon"}, "soon"},
		{[]string{"--schema", "out=" + schema + ".none"}, "no such file"},
		{[]string{"--schema", "out=" + schema}, "nobody to ask about Schemas"},
		{[]string{"--registry", "ftp://x"}, "--registry"},
		{[]string{"--timeout", "0s"}, "--timeout must be positive"},
		{[]string{"--group", "g", "--transactional-id", "x"}, "TransactionalID"},
		{[]string{"stray"}, "stray"},
	} {
		got := leatWith(t.Context(), append(good[:len(good):len(good)], tt.more...)...)
		got.want(t, 2)
		got.oneLine(t, "leat doctor: ", tt.says)
	}
	help := leatWith(t.Context(), "doctor", "--help")
	help.want(t, 2)
	if !strings.Contains(help.stderr, "-transactional-id") {
		t.Errorf("help:\n%s", help.stderr)
	}
}
