//go:build secure

package kafka_test

import (
	"crypto/tls"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/leat-stream/leat/internal/checktest"
	access "github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// guarded is the secured broker, looked at by its administrator, with topics of this
// test and a user of its own that may do nothing yet.
type guarded struct {
	*cluster
	id, in, out, dead, table string // topics
	group                    string
	tls                      *tls.Config
	user                     kafka.SASL
}

// The listeners of scripts/kafka-start-secure.
const (
	saslListener  = "LEAT_TEST_SASL"
	mtlsListener  = "LEAT_TEST_MTLS"
	openListener  = "LEAT_TEST_SASL_WITHOUT_TLS"
	shortListener = "LEAT_TEST_SASL_SHORT"
)

func listenerOf(t testing.TB, name string) string {
	t.Helper()
	addr := os.Getenv(name)
	if addr == "" {
		t.Fatalf("%s is not set; scripts/test-secure sets it", name)
	}
	return addr
}

// pem is the path of one of the cluster's certificates or keys.
func pem(t testing.TB, name string) string {
	t.Helper()
	return filepath.Join(listenerOf(t, "LEAT_TEST_TLS"), name)
}

func trusting(t testing.TB) *tls.Config {
	t.Helper()
	c, err := kafka.TLSFiles(pem(t, "ca.crt"), "", "")
	noError(t, err, "TLS")
	return c
}

func guard(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{tls: trusting(t), id: "test-" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	admin := plain.Auth{User: "admin", Pass: "admin-secret"}.AsMechanism()
	g.cluster = &cluster{Client: checktest.Dial(t, []string{listenerOf(t, saslListener)}, kgo.SASL(admin), kgo.DialTLSConfig(g.tls.Clone())), t: t}
	g.in, g.out, g.dead, g.table, g.group = g.id+"-in", g.id+"-out", g.id+"-dead", g.id+"-table", g.id+"-group"
	for _, topic := range []string{g.in, g.out, g.dead, g.table} {
		g.CreateTopic(topic, 2, nil)
	}
	g.user = kafka.SASL{Mechanism: "SCRAM-SHA-512", User: g.id, Password: kafka.SecretOf("its-secret")}
	g.CreateUser("SCRAM-SHA-512", g.id, "its-secret")
	g.Await("the broker to know the user", func() bool { return g.knows(g.user) })
	return g
}

// knows reports whether the broker accepts credentials.
func (g *guarded) knows(s kafka.SASL) bool {
	c, err := access.Open(g.t.Context(), access.Config{Brokers: []string{listenerOf(g.t, saslListener)}, TLS: g.tls, SASL: s})
	return err == nil && c.Close() == nil
}

func (g *guarded) principal() string { return "User:" + g.user.User }

func (g *guarded) config() kafka.Config {
	return kafka.Config{
		Brokers: []string{listenerOf(g.t, saslListener)}, TLS: g.tls, SASL: g.user, Group: g.group, Instance: "one", LeaveGroup: true,
		CommitInterval: 20 * time.Millisecond, SessionTimeout: 6 * time.Second, HeartbeatInterval: 100 * time.Millisecond,
		UntilEnd: true, Logger: silent,
	}
}

// txn is the id that a pipeline of this configuration uses.
func (g *guarded) txn() string { return "leat-" + g.group + "-one-0" }

func (g *guarded) settings() kafka.ProducerSettings {
	return kafka.ProducerSettings{Brokers: []string{listenerOf(g.t, saslListener)}, TLS: g.tls, SASL: g.user, Logger: silent}
}

// pipeline copies what is not "bad", which becomes a dead letter.
func (g *guarded) pipeline() *pipeline.Pipeline {
	p := pipeline.New("guarded", pipeline.DeadLetter(g.dead))
	in := pipeline.From(p, g.in, serde.String())
	pipeline.To(stagesCheck(in), g.out, serde.String())
	return p
}

// joining looks everything up in a table.
func (g *guarded) joining() *pipeline.Pipeline {
	p := pipeline.New("guarded")
	table := pipeline.Table(p, g.table, serde.String(), serde.String())
	in := pipeline.From(p, g.in, serde.String())
	full := stages.EnrichOptional(in, "join", func(s string) string { return s }, table, func(s, v string, _ bool) string { return s + v })
	pipeline.To(full, g.out, serde.String())
	return p
}

// right reads "READ on topic orders".
func right(t testing.TB, text string) checktest.Right {
	t.Helper()
	w := strings.Fields(text)
	if len(w) != 4 || w[1] != "on" {
		t.Fatalf("not a right: %q", text)
	}
	return checktest.Right{Operation: w[0], ResourceType: w[2], Resource: w[3]}
}

func rights(t testing.TB, all ...string) (out []checktest.Right) {
	t.Helper()
	for _, text := range all {
		out = append(out, right(t, text))
	}
	return out
}
