//go:build real

package serde_test

import (
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/serde/serdetest"
)

// realRegistry returns the address in LEAT_TEST_REGISTRY and a topic name of this
// test's own, whose subject has BACKWARD compatibility.
func realRegistry(t *testing.T) (url, topic string) {
	t.Helper()
	url = os.Getenv("LEAT_TEST_REGISTRY")
	if url == "" {
		t.Fatal("LEAT_TEST_REGISTRY is not set: the base URL of a registry that answers as Confluent's does")
	}
	topic = "serde-" + strings.ToLower(rand.Text())
	admin, err := sr.NewClient(sr.URLs(url))
	check(t, err)
	for _, r := range admin.SetCompatibility(t.Context(), sr.SetCompatibility{Level: sr.CompatBackward}, topic+"-value") {
		check(t, r.Err)
	}
	return url, topic
}

func TestRealConformance(t *testing.T) {
	for name, codec := range codecs() {
		t.Run(name, func(t *testing.T) {
			url, topic := realRegistry(t)
			serdetest.Suite[Order]{
				Serde: serde.Avro[Order](newClient(t, url), serde.Schema(orderAvsc), serde.Codec(codec)), Values: orders(), Equal: orderEqual,
				Whole: true, Secret: secret, Reject: append(badFrames()[:6], []byte{0, 0x7f, 0xff, 0xff, 0xff, 2}), At: value(topic),
			}.Run(t)
		})
	}
}

func TestRealRegistering(t *testing.T) {
	url, topic := realRegistry(t)
	subject := topic + "-value"
	schema := registry.Schema{Type: registry.Avro, Text: orderAvsc}
	_, err := newClient(t, url).Lookup(t.Context(), subject, schema)
	wantIs(t, err, registry.ErrNotFound)
	wantClass(t, err, "fatal")
	id, err := newClient(t, url).Register(t.Context(), subject, schema)
	check(t, err)
	// Another client, the same schema in another format: the same id.
	again, err := newClient(t, url).Register(t.Context(), subject, registry.Schema{Text: strings.NewReplacer("\n", "", "\t", " ").Replace(orderAvsc)})
	check(t, err)
	found, err := newClient(t, url).Lookup(t.Context(), subject, schema)
	check(t, err)
	if again != id || found != id {
		t.Errorf("registered as %d, again as %d, found as %d", id, again, found)
	}
	got, err := newClient(t, url).SchemaByID(t.Context(), id)
	check(t, err)
	if got.Type != registry.Avro || !strings.Contains(got.Text, "order_id") {
		t.Errorf("got %+v", got)
	}
}

func TestRealUnknownID(t *testing.T) {
	url, _ := realRegistry(t)
	for _, id := range []int{0, 1<<31 - 1} {
		_, err := newClient(t, url).SchemaByID(t.Context(), id)
		wantIs(t, err, registry.ErrNotFound)
		wantClass(t, err, "the record's")
	}
}

func TestRealPing(t *testing.T) {
	url, _ := realRegistry(t)
	check(t, newClient(t, url).Ping(t.Context()))
	wantClass(t, newClient(t, url+"/wrong/path").Ping(t.Context()), "fatal")
}

// BACKWARD: a new field needs a default, or new readers could not read the old.
func TestRealIncompatible(t *testing.T) {
	url, topic := realRegistry(t)
	s := serde.Avro[Order](newClient(t, url), serde.Schema(orderAvsc))
	old := encode(t, s, topic, orders()[0])
	type more struct {
		Order
		Region string `avro:"region"`
	}
	grown := func(field string) string { return strings.TrimSuffix(orderAvsc, "]}") + "," + field + "]}" }
	refused := serde.Avro[more](newClient(t, url), serde.Schema(grown(`{"name":"region","type":"string"}`)))
	err := refused.(pipeline.Preparer).Prepare(t.Context(), value(topic), true)
	wantIs(t, err, registry.ErrIncompatible)
	wantClass(t, err, "fatal")
	t.Log(err)
	_, err = refused.Decode(t.Context(), value(topic), old)
	wantIs(t, err, serde.ErrUnresolvable)
	wantClass(t, err, "fatal")

	accepted := serde.Avro[more](newClient(t, url), serde.Schema(grown(`{"name":"region","type":"string","default":"nowhere"}`)))
	data := encode(t, accepted, topic, more{Order: orders()[0], Region: "eu"})
	got, err := accepted.Decode(t.Context(), value(topic), old)
	check(t, err)
	if got.Region != "nowhere" || !orderEqual(got.Order, orders()[0]) {
		t.Errorf("new reads old: %+v", got)
	}
	back, err := s.Decode(t.Context(), value(topic), data)
	check(t, err)
	if !orderEqual(back, orders()[0]) {
		t.Errorf("old reads new: %+v", back)
	}
}

func TestRealInvalidSchema(t *testing.T) {
	url, topic := realRegistry(t)
	_, err := newClient(t, url).Register(t.Context(), topic+"-value", registry.Schema{Text: `{"type":"strng"}`})
	wantClass(t, err, "fatal")
}

func TestRealReferences(t *testing.T) {
	url, topic := realRegistry(t)
	reg := newClient(t, url)
	const inner = `{"type":"record","name":"Inner","namespace":"n","fields":[{"name":"a","type":"int"}]}`
	const outer = `{"type":"record","name":"Outer","namespace":"n","fields":[{"name":"x","type":"n.Inner"}]}`
	_, err := reg.Register(t.Context(), topic+"-inner", registry.Schema{Text: inner})
	check(t, err)
	id, err := reg.Register(t.Context(), topic+"-value", registry.Schema{Text: outer, References: []registry.Reference{{Name: "n.Inner", Subject: topic + "-inner", Version: 1}}})
	check(t, err)
	got, err := reg.SchemaByID(t.Context(), id)
	check(t, err)
	if len(got.References) != 1 || !strings.Contains(got.References[0].Text, "Inner") {
		t.Errorf("got %+v", got)
	}
}
