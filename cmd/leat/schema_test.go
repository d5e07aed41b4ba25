package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// file writes a file of the test's own.
func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func newRegistry(t *testing.T) *srfake.Registry {
	t.Helper()
	fake := srfake.New()
	t.Cleanup(fake.Close)
	return fake
}

const (
	avscCity   = `{"type":"record","name":"City","fields":[{"name":"name","type":"string"}]}`
	avscPerson = `{"type":"record","name":"Person","fields":[{"name":"home","type":"City"}]}`
)

func TestSchemaRegisterShowList(t *testing.T) {
	t.Parallel()
	fake := newRegistry(t)
	schema := func(command string, more ...string) outcome {
		return leatWith(t.Context(), append([]string{"schema", command, "--registry", fake.URL()}, more...)...)
	}
	expect := func(o outcome, want string) {
		t.Helper()
		o.want(t, 0)
		if o.stdout != want {
			t.Errorf("it says\n%s\nwant\n%s", o.stdout, want)
		}
	}
	expect(schema("list"), "SUBJECT  TYPE  VERSIONS  ID  COMPATIBILITY\n")
	expect(schema("list", "--json"), "[]\n")
	city := file(t, "city.avsc", avscCity)
	expect(schema("register", "--subject", "city", "--file", city), "subject=city version=1 id=1\n")
	expect(schema("register", "--subject", "city", "--file", city), "subject=city version=1 id=1\n")
	for _, version := range []string{"1", "latest"} {
		o := schema("register", "--subject", "person-value", "--file", file(t, "person.avsc", avscPerson), "--reference", "City=city@"+version)
		expect(o, "subject=person-value version=1 id=2\n")
	}
	expect(schema("register", "--subject", "order-value", "--file", file(t, "o.json", `{"type":"object"}`)), "subject=order-value version=1 id=3\n")
	expect(schema("register", "--subject", "order-value", "--file", file(t, "o.txt", `{"type":"object","title":"O"}`), "--type", "json"), "subject=order-value version=2 id=4\n")
	const proto = "syntax = \"proto3\";\nmessage M { string a = 1; }\n"
	var got struct {
		Subject     string
		Version, ID int
		GUID        string
	}
	o := schema("register", "--subject", "m-value", "--file", file(t, "m.proto", proto), "--json")
	o.want(t, 0)
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || got.Subject != "m-value" || got.Version != 1 || got.ID != 5 || len(got.GUID) != 36 {
		t.Errorf("it says %s, %v", o.stdout, err)
	}
	expect(schema("list"), `SUBJECT       TYPE      VERSIONS  ID  COMPATIBILITY
city          AVRO      1         1   BACKWARD
m-value       PROTOBUF  1         5   BACKWARD
order-value   JSON      1-2       4   BACKWARD
person-value  AVRO      1         2   BACKWARD
`)
	expect(schema("list", "--subject-prefix", "ord", "--json"), `[
  {
    "subject": "order-value",
    "versions": [
      1,
      2
    ],
    "type": "JSON",
    "id": 4,
    "compatibility": "BACKWARD"
  }
]
`)
	expect(schema("show", "order-value@1", "--raw"), `{"type":"object"}`)
	expect(schema("show", "m-value", "--raw"), proto)
	for _, tt := range []struct{ name, says string }{
		{"person-value", "subject    person-value\nversion    1\nid         2\nguid       "},
		{"person-value@latest", "\ntype       AVRO\nreference  City = city@1\n\n{\n  \"type\": \"record\",\n  \"name\": \"Person\",\n"},
		{"2", "id         2\ntype       AVRO\nreference  City = city@1\n\n{\n"},
		{"order-value@1", "version  1\n"},
		{"m-value", "\ntype     PROTOBUF\n\n" + proto},
	} {
		o := schema("show", tt.name)
		o.want(t, 0)
		if !strings.Contains(o.stdout, tt.says) {
			t.Errorf("show %s says\n%s\nwant\n%s", tt.name, o.stdout, tt.says)
		}
	}
	var shown shownSchema
	o = schema("show", "--json", "person-value")
	o.want(t, 0)
	if err := json.Unmarshal([]byte(o.stdout), &shown); err != nil || shown.Schema != avscPerson || len(shown.References) != 1 ||
		shown.References[0] != (shownReference{"City", "city", 1, avscCity}) {
		t.Errorf("it says %s, %v", o.stdout, err)
	}
	for name, says := range map[string]string{
		"absent": `get the latest version of subject "absent"`, "city@9": "version 9", "99": "schema 99", "city@x": `"x" is neither a version nor latest`,
	} {
		o := schema("show", name)
		o.want(t, 1)
		o.oneLine(t, "leat schema: ", says)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	for want, ns := range map[string][]int{"": nil, "1": {1}, "1-3,5,7-8": {1, 2, 3, 5, 7, 8}} {
		if got := ranges(ns); got != want {
			t.Errorf("%v: %q, want %q", ns, got, want)
		}
	}
}

// srfake takes any schema for compatible; here it is told what to answer. The real
// registry's answers are tested in the real tier.
func TestSchemaCheck(t *testing.T) {
	t.Parallel()
	fake := newRegistry(t)
	fake.SeedSchema("city", 1, 1, sr.Schema{Schema: avscCity})
	args := []string{"schema", "check", "--registry", fake.URL(), "--subject", "city", "--file", file(t, "city.avsc", avscCity)}
	o := leatWith(t.Context(), args...)
	o.want(t, 0)
	if o.stdout != "compatible with city (BACKWARD)\n" {
		t.Error(o.stdout)
	}
	fake.Intercept(incompatible)
	o = leatWith(t.Context(), args...)
	o.want(t, 1)
	o.oneLine(t, `leat schema: incompatible with subject "city", which asks for BACKWARD`)
	if o.stdout != "the field x has no default\n" {
		t.Error(o.stdout)
	}
	o = leatWith(t.Context(), append(args, "--json")...)
	o.want(t, 1)
	if want := "{\n  \"subject\": \"city\",\n  \"compatibility\": \"BACKWARD\",\n  \"compatible\": false,\n  \"reasons\": [\n    \"the field\\n  x has no default\"\n  ]\n}\n"; o.stdout != want {
		t.Errorf("%s\nwant\n%s", o.stdout, want)
	}
}

func TestSchemaBadFlags(t *testing.T) {
	avsc := file(t, "city.avsc", avscCity)
	for _, tt := range []struct{ args, says string }{
		{"list", "--registry is required"},
		{"list --registry http://x stray", "stray"},
		{"list --registry nowhere", "http"},
		{"show --registry http://x", "want one SUBJECT[@VERSION]|ID"},
		{"show --registry http://x a b", "want one"},
		{"show --registry http://x a --raw --json", "exclude"},
		{"check --registry http://x --file " + avsc, "--subject is required"},
		{"register --registry http://x --subject s", "--file is required"},
		{"register --registry http://x --subject s --file /x.txt", "--type is required"},
		{"register --registry http://x --subject s --file /x.avsc --type xml", `not "xml"`},
		{"register --registry http://x --subject s --file /x.avsc --reference a=b", "name=subject@version"},
		{"register --registry http://x --subject s --file /x.avsc --reference a=b@0", "neither a version nor latest"},
		{"derive x.json", "--name is required"},
		{"derive --name O", "want one EXAMPLES"},
		{"derive --name O --type protobuf x.json", "Protobuf needs numbers"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			o := leatWith(t.Context(), append([]string{"schema"}, strings.Fields(tt.args)...)...)
			o.want(t, 2)
			o.oneLine(t, "leat schema ", tt.says)
		})
	}
	for args, says := range map[string]string{"": "usage: leat schema COMMAND", "nonsense": `no command "nonsense"`, "derive --help": "usage: leat schema derive", "--help": "usage: leat schema"} {
		o := leatWith(t.Context(), append([]string{"schema"}, strings.Fields(args)...)...)
		o.want(t, 2)
		if !strings.Contains(o.stderr, says) {
			t.Errorf("leat schema %s says %q, not %q", args, o.stderr, says)
		}
	}
	o := leatWith(t.Context(), "schema", "register", "--registry", "http://127.0.0.1:1", "--subject", "s", "--file", "/nowhere.avsc")
	o.want(t, 1)
	o.oneLine(t, "leat schema: ", "/nowhere.avsc")
}

const deriveExamples = `{"id": 1, "name": "a", "price": 1.5, "tags": ["x"], "home": {"street": "s", "zip": null}, "lines": [{"n": 1}, {"n": 2, "note": "b"}]}
{"id": 2, "name": null, "price": 2, "tags": [], "home": {"street": "t", "zip": "z"}, "extra": true, "lines": [], "mixed": "s"}
{"id": 9007199254740993, "name": "c", "price": 0.1, "tags": ["y", null], "lines": [{"n": 3}], "mixed": 4}`

const derivedAvro = `{
  "type": "record",
  "name": "Order",
  "namespace": "com.acme",
  "fields": [
    {
      "name": "id",
      "type": "long"
    },
    {
      "name": "name",
      "type": [
        "null",
        "string"
      ],
      "default": null
    },
    {
      "name": "price",
      "type": "double"
    },
    {
      "name": "tags",
      "type": {
        "type": "array",
        "items": [
          "null",
          "string"
        ]
      }
    },
    {
      "name": "home",
      "type": [
        "null",
        {
          "type": "record",
          "name": "Home",
          "fields": [
            {
              "name": "street",
              "type": "string"
            },
            {
              "name": "zip",
              "type": [
                "null",
                "string"
              ],
              "default": null
            }
          ]
        }
      ],
      "default": null
    },
    {
      "name": "lines",
      "type": {
        "type": "array",
        "items": {
          "type": "record",
          "name": "Lines",
          "fields": [
            {
              "name": "n",
              "type": "long"
            },
            {
              "name": "note",
              "type": [
                "null",
                "string"
              ],
              "default": null
            }
          ]
        }
      }
    },
    {
      "name": "extra",
      "type": [
        "null",
        "boolean"
      ],
      "default": null
    },
    {
      "name": "mixed",
      "type": [
        "null",
        "long",
        "string"
      ],
      "default": null
    }
  ]
}
`

// What is derived takes the examples.
func TestSchemaDeriveAvro(t *testing.T) {
	t.Parallel()
	o := leatWith(t.Context(), "schema", "derive", "--name", "com.acme.Order", file(t, "e.json", deriveExamples))
	o.want(t, 0)
	if o.stdout != derivedAvro {
		t.Errorf("derived\n%s", o.stdout)
	}
	if want := "leat schema derive: /price: a double has 15 digits; is it enough?\nleat schema derive: /mixed: values of several types: a union\n"; o.stderr != want {
		t.Errorf("it notes\n%s", o.stderr)
	}
	s, err := avro.Parse(o.stdout)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(deriveExamples) {
		var v any
		if err := s.DecodeJSON([]byte(line), &v); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if _, err := s.Encode(v); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestSchemaDeriveJSONSchema(t *testing.T) {
	t.Parallel()
	o := leatWith(t.Context(), "schema", "derive", "--type", "json", "--name", "Order", file(t, "e.json", deriveExamples))
	o.want(t, 0)
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(o.stdout))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mem:///s", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("mem:///s")
	if err != nil {
		t.Fatal(err)
	}
	ok := append(strings.Split(deriveExamples, "\n"), `{"id":1,"name":"a","price":1,"tags":[],"lines":[],"more":1}`)
	for i, text := range append(ok, `{}`, `{"id":1.5,"name":"a","price":1,"tags":[],"lines":[]}`, `{"id":1,"name":1,"price":1,"tags":[],"lines":[]}`, `[]`) {
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(v); (err == nil) != (i < len(ok)) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if want := `"required": [
    "id",
    "name",
    "price",
    "tags",
    "lines"
  ]`; !strings.Contains(o.stdout, want) {
		t.Errorf("derived\n%s", o.stdout)
	}
}

func TestSchemaDeriveLimits(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		typ, text, says string
		code            int
	}{
		{"avro", ``, "holds no example", 1},
		{"avro", `[1]`, "not all objects", 1},
		{"avro", `{"a-b": 1}`, "/a-b: Avro allows no such name", 1},
		{"avro", `{"a": {"": 1}}`, "/a/: Avro allows no such name", 1},
		{"avro", `{"a": 1, "a": 2}`, `"a" stands twice`, 1},
		{"avro", `{"a": 1`, "at byte", 1},
		{"avro", `{"a": x}`, "at byte", 1},
		{"avro", `{"a": [` + strings.Repeat("[", 200), "nested deeper", 1},
		{"avro", `{"a": []}`, "/a/*: no example has a value; string is a guess", 0},
		{"avro", `{"a": null}`, "/a: no example has a value; string is a guess", 0},
		{"avro", `{"a": 18446744073709551616}`, "/a: a double has 15 digits", 0},
		{"json", `{"a": []}`, "/a/*: no example has a value; anything is allowed", 0},
	} {
		o := leatWith(t.Context(), "schema", "derive", "--type", tt.typ, "--name", "O", file(t, "e.json", tt.text))
		o.want(t, tt.code)
		o.oneLine(t, "leat schema", tt.says)
	}
	// Two types of one name.
	o := leatWith(t.Context(), "schema", "derive", "--name", "A", file(t, "e.json", `{"a": {"a": {"a": 1}}}`))
	o.want(t, 0)
	for _, name := range []string{"A", "A2", "A3"} {
		if !strings.Contains(o.stdout, fmt.Sprintf(`"name": %q`, name)) {
			t.Errorf("no %s in %s", name, o.stdout)
		}
	}
	o = leatWith(t.Context(), "schema", "derive", "--name", "not a name", file(t, "e.json", `{"a": 1}`))
	o.want(t, 1)
}

// A registry without reasons: Avro's rules give some.
func TestSchemaCheckWithoutReasons(t *testing.T) {
	t.Parallel()
	fake := newRegistry(t)
	fake.SeedSchema("city", 1, 1, sr.Schema{Schema: avscCity})
	more := file(t, "city.avsc", `{"type":"record","name":"City","fields":[{"name":"region","type":"string"}]}`)
	level := "BACKWARD"
	fake.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/config/") {
			_, _ = fmt.Fprintf(w, `{"compatibilityLevel":%q}`, level)
			return true
		}
		if strings.HasPrefix(r.URL.Path, "/compatibility/") {
			_, _ = w.Write([]byte(`{"is_compatible":false}`))
			return true
		}
		return false
	})
	const backward, forward = "it cannot read what the latest has written (version 1): ", "the latest cannot read what it writes (version 1): "
	for l, want := range map[string][2]bool{"BACKWARD": {true, false}, "FORWARD_TRANSITIVE": {false, true}, "FULL": {true, true}} {
		level = l
		o := leatWith(t.Context(), "schema", "check", "--registry", fake.URL(), "--subject", "city", "--file", more)
		o.want(t, 1)
		if got := [2]bool{strings.Contains(o.stdout, backward), strings.Contains(o.stdout, forward)}; got != want || !strings.HasPrefix(o.stdout, "the registry gives no reasons\n") {
			t.Errorf("%s: it says\n%s", l, o.stdout)
		}
		if want[0] && !strings.Contains(o.stdout, "region") {
			t.Errorf("%s: it does not name the field:\n%s", l, o.stdout)
		}
	}
}

// incompatible answers as a registry does that holds a schema for incompatible.
func incompatible(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, "/compatibility/") {
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"is_compatible":false,"messages":["the field\n  x has no default"]}`))
	return true
}
