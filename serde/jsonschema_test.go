package serde_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/serde/serdetest"
)

const orderJSONSchema = `{"$schema":"http://json-schema.org/draft-07/schema#","title":"Order","type":"object","additionalProperties":false,
	"required":["order_id","amount_cents"],"properties":{
	"order_id":{"type":"string"},"customer_id":{"type":"string","maxLength":300},"amount_cents":{"type":"integer"},
	"status":{"enum":["NEW","PAID","CANCELLED"]},"created_at":{"type":"string"},"note":{"type":["null","string"]},
	"tags":{"type":["null","array"],"items":{"type":"string","maxLength":20}}}}`

func TestJSONSchemaConformance(t *testing.T) {
	_, reg := newFake(t)
	serdetest.Suite[Order]{
		Serde: serde.JSONSchema[Order](reg, serde.Schema(orderJSONSchema)), Values: orders(), Equal: orderEqual, Whole: true, Secret: secret,
		Reject: append(badFrames(),
			framedText(`{"order_id":"`+secret+`"}`), framedText(`{"order_id":"a","amount_cents":"`+secret+`"}`), framedText(`null`), framedText(``),
			framedText(`{"order_id":"a","amount_cents":1,"`+secret+`":2}`), framedText(`{"order_id":"a","amount_cents":1} {}`), framedText(`{"order_id":`)),
	}.Run(t)
}

func framedText(text string) []byte { return append([]byte{0, 0, 0, 0, 1}, text...) }

// All violations are reported with their places, and nothing of the record is shown.
func TestJSONSchemaViolations(t *testing.T) {
	_, reg := newFake(t)
	s := serde.JSONSchema[Order](reg, serde.Schema(orderJSONSchema))
	_ = encode(t, s, "orders", orders()[0])
	long := strings.Repeat(secret, 2)
	_, err := s.Decode(t.Context(), value("orders"), framedText(`{"amount_cents":1.5,"status":"`+secret+`","tags":["a","`+long+`"],"`+secret+`":1}`))
	wantIs(t, err, serde.ErrInvalidValue)
	wantClass(t, err, "the record's")
	var v *serde.ViolationError
	if !errors.As(err, &v) {
		t.Fatalf("no ViolationError: %v", err)
	}
	places := map[string]string{}
	for _, x := range v.Violations {
		places["/"+strings.Join(x.Path, "/")] = x.Rule[strings.IndexByte(x.Rule, '#'):]
	}
	want := map[string]string{
		"/amount_cents": "#/properties/amount_cents/type", "/status": "#/properties/status/enum", "/tags/1": "#/properties/tags/items/maxLength",
	}
	for path, rule := range want {
		if places[path] != rule {
			t.Errorf("%s violates %q, want %q", path, places[path], rule)
		}
	}
	if len(v.Violations) != 5 { // and an additional property, and one that is missing
		t.Errorf("%d violations: %+v", len(v.Violations), v.Violations)
	}
	if text := err.Error(); strings.Contains(text, secret) || !strings.Contains(text, "/tags/1 violates #/properties/tags/items/maxLength") {
		t.Errorf("the text is %q", text)
	}

	o := orders()[0]
	o.Status = Status(secret)
	_, err = s.Append(t.Context(), nil, value("orders"), o)
	wantIs(t, err, serde.ErrInvalidValue)
	if text := err.Error(); strings.Contains(text, secret) || !strings.Contains(text, "/status violates #/properties/status/enum") {
		t.Errorf("the text is %q", text)
	}
}

func TestJSONSchemaValidationIsSwitchedOff(t *testing.T) {
	_, reg := newFake(t)
	o := orders()[0]
	o.Status = "LOST"
	loose := serde.JSONSchema[Order](reg, serde.Schema(orderJSONSchema), serde.ValidateWrites(false))
	data := encode(t, loose, "orders", o)
	_, err := loose.Decode(t.Context(), value("orders"), data)
	wantIs(t, err, serde.ErrInvalidValue)
	careless := serde.JSONSchema[Order](reg, serde.Schema(orderJSONSchema), serde.ValidateReads(false))
	got, err := careless.Decode(t.Context(), value("orders"), data)
	check(t, err)
	if !orderEqual(got, o) {
		t.Errorf("got %+v", got)
	}
	_, err = careless.Append(t.Context(), nil, value("orders"), o)
	wantIs(t, err, serde.ErrInvalidValue)
}

func TestJSONSchemaDerived(t *testing.T) {
	fake, reg := newFake(t)
	type item struct {
		Name  string   `json:"name"`
		Count int      `json:"count"`
		Notes []string `json:"notes,omitempty"`
		Price *float64 `json:"price"`
	}
	s := serde.JSONSchema[item](reg, serde.Subject(serde.RecordName))
	at := value("items")
	v := item{Name: "a", Count: 3}
	got, err := s.Decode(t.Context(), at, encode(t, s, "items", v))
	check(t, err)
	if !reflect.DeepEqual(got, v) {
		t.Errorf("got %+v", got)
	}
	registered, err := reg.Latest(t.Context(), "item")
	check(t, err)
	var schema map[string]any
	check(t, json.Unmarshal([]byte(registered.Text), &schema))
	if schema["title"] != "item" || schema["$schema"] != "http://json-schema.org/draft-07/schema#" || schema["additionalProperties"] != false || registered.Type != registry.JSON {
		t.Errorf("derived %s", registered.Text)
	}
	for _, bad := range []string{`{"name":"a","count":1.5,"price":null}`, `{"count":1,"price":null}`, `{"name":"a","count":1,"price":null,"x":1}`} {
		_, err := s.Decode(t.Context(), at, framedText(bad))
		wantIs(t, err, serde.ErrInvalidValue)
	}
	if err := serde.JSONSchema[func()](reg).(serde.Validator).Validate(); !errors.Is(err, serde.ErrInvalid) {
		t.Errorf("a function: %v", err)
	}
	_ = fake
}

// References are resolved by what the registry holds: by relative and absolute names,
// and from reference to reference.
func TestJSONSchemaReferences(t *testing.T) {
	_, reg := newFake(t)
	type money struct {
		Amount   int    `json:"amount"`
		Currency string `json:"currency"`
	}
	type line struct {
		Price money `json:"price"`
	}
	type invoice struct {
		Lines []line `json:"lines"`
	}
	currency := registry.Reference{Name: "currency.json", Subject: "currency", Text: `{"enum":["EUR","USD"]}`}
	moneyRef := registry.Reference{Name: "https://schemas.example/money.json", Subject: "money", Text: `{"$id":"https://schemas.example/money.json","type":"object","properties":{"amount":{"type":"integer"},"currency":{"$ref":"currency.json"}}}`}
	lineRef := registry.Reference{Name: "line.json", Subject: "line", Text: `{"type":"object","properties":{"price":{"$ref":"https://schemas.example/money.json"}}}`}
	root := `{"type":"object","properties":{"lines":{"type":"array","items":{"$ref":"line.json"}}}}`
	s := serde.JSONSchema[invoice](reg, serde.Schema(root), serde.References(currency, moneyRef, lineRef))
	check(t, s.(serde.Validator).Validate())
	check(t, s.(pipeline.Preparer).Prepare(t.Context(), value("invoices"), true))
	good := invoice{Lines: []line{{money{1, "EUR"}}}}
	data := encode(t, s, "invoices", good)
	// A client that knows only what is in the registry.
	other := serde.JSONSchema[invoice](newClient(t, reg.URLs()[0]), serde.Schema(root), serde.References(currency, moneyRef, lineRef))
	got, err := other.Decode(t.Context(), value("invoices"), data)
	check(t, err)
	if !reflect.DeepEqual(got, good) {
		t.Errorf("got %+v", got)
	}
	_, err = s.Append(t.Context(), nil, value("invoices"), invoice{Lines: []line{{money{1, "XXX"}}}})
	wantIs(t, err, serde.ErrInvalidValue)
	if !strings.Contains(err.Error(), "/lines/0/price/currency violates #/enum") {
		t.Errorf("the text is %q", err)
	}
	registered, err := reg.Latest(t.Context(), "invoices-value")
	check(t, err)
	if len(registered.References) != 3 || registered.References[0].Name != "currency.json" || registered.References[0].Text != currency.Text {
		t.Errorf("the registry holds %+v", registered.References)
	}
}

// No schema opens a file or an address.
func TestJSONSchemaOpensNothing(t *testing.T) {
	_, reg := newFake(t)
	file := filepath.Join(t.TempDir(), "s.json")
	check(t, os.WriteFile(file, []byte(`{}`), 0o600))
	for _, ref := range []string{"file://" + file, "http://127.0.0.1:1/s.json", "other.json", "/etc/passwd"} {
		err := serde.JSONSchema[any](reg, serde.Schema(`{"$ref":"`+ref+`"}`)).(serde.Validator).Validate()
		wantIs(t, err, serde.ErrInvalid)
		if !strings.Contains(err.Error(), "nothing else is opened") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestJSONSchemaUnderAForeignSchema(t *testing.T) {
	fake, reg := newFake(t)
	fake.SeedSchema("other", 1, 9, sr.Schema{Schema: `"int"`, Type: sr.TypeAvro})
	s := serde.JSONSchema[any](reg, serde.Schema(`{}`))
	_, err := s.Decode(context.Background(), value("t"), []byte{0, 0, 0, 0, 9, '1'})
	wantIs(t, err, serde.ErrUnresolvable)
	wantClass(t, err, "fatal")
}

// Numbers that cost the validator more than they are worth, or crash it.
func TestJSONSchemaNumbers(t *testing.T) {
	_, reg := newFake(t)
	s := serde.JSONSchema[any](reg, serde.Schema(`{"type":["number","array","object"],"multipleOf":0.5,"maximum":1e300}`))
	_ = encode(t, s, "t", any(1.5))
	for _, text := range []string{`1e401`, `-1E-401`, `1e999999`, `1e99999999`, `{"a":[1e+99999999999999999999]}`, strings.Repeat("1", 1001)} {
		_, err := s.Decode(t.Context(), value("t"), framedText(text))
		wantIs(t, err, serde.ErrMalformed)
		wantClass(t, err, "the record's")
		if !strings.Contains(err.Error(), "exponent") {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{`1e300`, `0e-400`, `2.5e+1`, `-0`, strings.Repeat("1", 300)} {
		if _, err := s.Decode(t.Context(), value("t"), framedText(text)); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := s.Append(t.Context(), nil, value("t"), json.Number("1e1000001")); err == nil {
		t.Error("written")
	}
}
