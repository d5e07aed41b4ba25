//go:build real

package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/serde/registry"
)

// realPlace is a topic of the test's own on the real broker, and the real registry, which
// asks for BACKWARD of the topic's values.
func realPlace(t *testing.T) (w *formatWriter, cat []string, url string) {
	t.Helper()
	brokers := strings.Split(os.Getenv("LEAT_TEST_BROKERS"), ",")
	if brokers[0] == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set: the addresses of a real cluster")
	}
	if url = os.Getenv("LEAT_TEST_REGISTRY"); url == "" {
		t.Fatal("LEAT_TEST_REGISTRY is not set: the base URL of a registry that answers as Confluent's does")
	}
	reg, err := registry.New(registry.Config{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	topic := "cat-" + strings.ToLower(rand.Text())
	to := checktest.Dial(t, brokers)
	to.CreateTopic(topic, 1, nil)
	admin, err := sr.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range admin.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackward}, topic+"-value") {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	return &formatWriter{t: t, to: to, reg: reg, topic: topic},
		[]string{"cat", "--brokers", strings.Join(brokers, ","), "--registry", url, "--topic", topic}, url
}

// Every format, written by the serdes and read back, on the real servers.
func TestRealCatFormats(t *testing.T) {
	w, cat, _ := realPlace(t)
	w.all()
	o := leatWith(t.Context(), cat...)
	o.want(t, 1)
	o.oneLine(t, "leat cat: 4 records could not be decoded")
	o.wantLines(t, w.want...)
}

func TestRealCatIsolation(t *testing.T) {
	w, cat, _ := realPlace(t)
	rec := func(v string) *kgo.Record { return &kgo.Record{Topic: w.topic, Value: []byte(v)} }
	w.to.Produce(rec("a"))
	w.to.ProduceTransaction(false, rec("aborted"), rec("aborted too"))
	w.to.ProduceTransaction(true, rec("b"), rec("c"))
	w.to.ProduceTransaction(false, rec("last"))
	for isolation, want := range map[string]string{
		"read_committed": "[a b c]", "read_uncommitted": "[a aborted aborted too b c last]",
	} {
		o := leatWith(t.Context(), append(cat, "--isolation", isolation)...)
		o.want(t, 0)
		if got := fmt.Sprint(o.values(t)); got != want {
			t.Errorf("%s: %s, want %s", isolation, got, want)
		}
	}
}

// The whole life of a schema: derived, registered, checked against, shown.
func TestRealSchema(t *testing.T) {
	w, _, url := realPlace(t)
	schema := func(command string, more ...string) outcome {
		return leatWith(t.Context(), append([]string{"schema", command, "--registry", url}, more...)...)
	}
	subject := w.topic + "-value"
	o := leatWith(t.Context(), "schema", "derive", "--name", "n.Order", file(t, "e.json", `{"id":1,"name":"a"}`))
	o.want(t, 0)
	first := file(t, "first.avsc", o.stdout)
	o = schema("check", "--subject", subject, "--file", first)
	o.want(t, 0)
	if !strings.HasPrefix(o.stdout, "compatible with "+subject+" (BACKWARD)") {
		t.Error(o.stdout)
	}
	o = schema("register", "--subject", subject, "--file", first)
	o.want(t, 0)
	if want := fmt.Sprintf("subject=%s version=1 id=%d\n", subject, w.id(subject)); o.stdout != want {
		t.Errorf("it says %q, want %q", o.stdout, want)
	}
	more := file(t, "more.avsc", `{"type":"record","name":"Order","namespace":"n","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"region","type":"string"}]}`)
	o = schema("check", "--subject", subject, "--file", more)
	o.want(t, 1)
	o.oneLine(t, "leat schema: incompatible with subject", "BACKWARD")
	if !strings.Contains(strings.ToLower(o.stdout), "region") {
		t.Errorf("the reasons are %q", o.stdout)
	}
	t.Log(o.stdout)
	o = schema("register", "--subject", subject, "--file", more)
	o.want(t, 1)
	o.oneLine(t, "incompatible")
	o = schema("show", subject+"@1")
	o.want(t, 0)
	for _, says := range []string{"subject  " + subject + "\n", "type     AVRO\n", `"name": "Order"`} {
		if !strings.Contains(o.stdout, says) {
			t.Errorf("show says\n%s\nwithout %q", o.stdout, says)
		}
	}
	o = schema("list", "--subject-prefix", w.topic)
	o.want(t, 0)
	if f := strings.Fields(o.stdout); len(f) != 10 || f[5] != subject || f[6] != "AVRO" || f[7] != "1" || f[9] != "BACKWARD" {
		t.Errorf("list says\n%s", o.stdout)
	}
}
