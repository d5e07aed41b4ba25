//go:build secure

package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	login "github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The rights of docs/security.md are enough, and each of them is needed and named when
// it is missing.
func TestSecureRedrive(t *testing.T) {
	broker, dir := os.Getenv("LEAT_TEST_SASL"), os.Getenv("LEAT_TEST_TLS")
	if broker == "" || dir == "" {
		t.Fatal("LEAT_TEST_SASL is not set; scripts/test-secure sets it")
	}
	ca := filepath.Join(dir, "ca.crt")
	trusting, err := kafka.TLSFiles(ca, "", "")
	if err != nil {
		t.Fatal(err)
	}
	c := checktest.Dial(t, []string{broker}, kgo.DialTLSConfig(trusting), kgo.SASL(login.Auth{User: "admin", Pass: "admin-secret"}.AsMechanism()))
	id := "dlq-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	dead, to := id+".dlq", id+"-to"
	c.CreateTopic(dead, 2, map[string]string{"retention.ms": "-1"})
	c.CreateTopic(to, 1, nil)
	c.CreateUser("SCRAM-SHA-512", id, "operators-secret")
	t.Setenv(passwordVariable, "operators-secret")
	flags := []string{"--brokers", broker, "--tls-ca", ca, "--sasl", "SCRAM-SHA-512", "--user", id, "--topic", dead}
	dlq := func(more ...string) outcome {
		return leatWith(t.Context(), append(append([]string{"dlq"}, more...), flags...)...)
	}
	c.Grant("User:"+id, checktest.Right{Operation: "READ", ResourceType: "topic", Resource: dead})
	dlq("list").want(t, 0)
	dlq("redrive", "--to", to).want(t, 0)
	all := []checktest.Right{
		{Operation: "DESCRIBE_CONFIGS", ResourceType: "topic", Resource: dead}, {Operation: "WRITE", ResourceType: "topic", Resource: dead},
		{Operation: "WRITE", ResourceType: "topic", Resource: to}, {Operation: "WRITE", ResourceType: "transactional-id", Resource: "leat.redrive." + dead},
	}
	c.Grant("User:"+id, all...)
	for i, missing := range append(all, checktest.Right{Operation: "READ", ResourceType: "topic", Resource: dead}) {
		c.Produce(letterOn(dead, i, "check", "no"))
		c.Revoke("User:"+id, missing)
		o := dlq("redrive", "--execute", "--to", to)
		o.want(t, 1)
		if !strings.Contains(o.stderr, "not allowed to "+missing.Operation) || !strings.Contains(o.stderr, "on "+missing.ResourceType+" "+missing.Resource) {
			t.Errorf("without %v it says %s", missing, o.stderr)
		}
		c.Grant("User:"+id, missing)
		dlq("redrive", "--execute", "--to", to).want(t, 0)
		c.AwaitVisible(to)
		if n := len(c.ReadAll(to)); n != i+1 {
			t.Errorf("%d letters were redriven, want %d", n, i+1)
		}
	}
}
