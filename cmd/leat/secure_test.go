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

// The commands work on a secured cluster with no more than their flags.
func TestSecureCommands(t *testing.T) {
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
	id := "leat-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c.CreateTopic(id+"-in", 1, nil)
	c.CreateTopic(id+"-out", 1, nil)
	t.Setenv(passwordVariable, "admin-secret")
	flags := []string{"--brokers", broker, "--tls-ca", ca, "--sasl", "SCRAM-SHA-512", "--user", "admin"}
	leat := func(want int, args ...string) string {
		t.Helper()
		var out, errs strings.Builder
		if got := run(t.Context(), args, &out, &errs); got != want {
			t.Fatalf("leat %v: exit %d\n%s%s", args, got, out.String(), errs.String())
		}
		return out.String() + errs.String()
	}
	leat(0, append([]string{"perf", "produce", "--topic", id + "-in", "--records", "1000"}, flags...)...)
	leat(0, append([]string{"copy", "--from", id + "-in", "--to", id + "-out", "--group", id, "--until-end"}, flags...)...)
	if got := len(c.ReadAll(id + "-out")); got != 1000 {
		t.Errorf("%d records were copied", got)
	}
	t.Setenv(passwordVariable, "wrong-secret")
	text := leat(1, append([]string{"copy", "--from", id + "-in", "--to", id + "-out", "--group", id, "--until-end"}, flags...)...)
	if !strings.Contains(text, "password is wrong") || strings.Contains(text, "wrong-secret") {
		t.Errorf("it says %q", text)
	}
}
