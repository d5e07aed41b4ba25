package serde

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	derive "github.com/google/jsonschema-go/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/leat-stream/leat/serde/registry"
)

// ValidateWrites says whether what [JSONSchema] writes is held against the schema
// (default true). Confluent: json.fail.invalid.schema.
func ValidateWrites(on bool) Option {
	return func(o *options) {
		o.trustWrites = !on
		o.foreign = append(o.foreign, ownedOption{"ValidateWrites", "JSONSchema"})
	}
}

// ValidateReads says whether what [JSONSchema] reads is held against the schema
// (default true).
func ValidateReads(on bool) Option {
	return func(o *options) {
		o.trustReads = !on
		o.foreign = append(o.foreign, ownedOption{"ValidateReads", "JSONSchema"})
	}
}

// JSONSchema is the serde of JSON with a JSON Schema in a registry, in the wire formats
// of [Avro], and with its options. Values are encoded and decoded by encoding/json, as
// by [JSON].
//
// Both what is written and what is read is held against the schema given, or else the
// one derived from T: an object of T's fields and no others, of which those without
// omitempty or omitzero are required. What violates it is the record's error
// [ErrInvalidValue], whose cause is a [*ViolationError] with every violation and its
// place. Validation costs two to three times what decoding does and can be switched
// off: [ValidateWrites], [ValidateReads].
//
// References come from the registry only: nothing else is ever opened, neither a file
// nor an address. A schema without $schema is read as draft 2020-12. format is not
// asserted, as the standard has it. A number whose exponent is beyond ±400, more than a
// float64 has, or of more than 1,000 digits is refused where values are validated.
func JSONSchema[T any](reg *registry.Client, opts ...Option) Serde[T] {
	return newFramed[T](reg, "JSONSchema", &jsonFormat{
		typ:  reflect.TypeFor[T](),
		null: nilable(reflect.TypeFor[T]()),
	}, opts)
}

type jsonFormat struct {
	typ         reflect.Type
	null        bool
	trustWrites bool
	trustReads  bool
	schema      *jsonschema.Schema
	title       string
	names       map[string]bool // of properties: what a violation's place may show
}

func (f *jsonFormat) compile(o *options) (registry.Schema, error) {
	f.trustWrites, f.trustReads = o.trustWrites, o.trustReads
	text := o.schema
	if !o.given {
		var err error
		if text, err = derivedSchema(f.typ); err != nil {
			return registry.Schema{}, fmt.Errorf("no Schema given, and none can be derived: %w", err)
		}
	}
	s := registry.Schema{Type: registry.JSON, Text: text, References: o.references}
	var err error
	if f.schema, err = compileJSONSchema(s); err != nil {
		return s, fmt.Errorf("Schema: %w", err)
	}
	f.title = f.schema.Title
	f.names = map[string]bool{}
	propertyNames(f.names, s)
	return s, nil
}

// draft07 is the draft that registries know best; what is derived means the same in
// every later one.
const draft07 = "http://json-schema.org/draft-07/schema#"

func derivedSchema(t reflect.Type) (string, error) {
	s, err := derive.ForType(t, nil)
	if err != nil {
		return "", err
	}
	s.Schema, s.Title = draft07, t.Name()
	text, err := json.Marshal(s)
	return string(text), err
}

// rootURL is the address of a schema without an $id: nothing is there.
const rootURL = "registry:///schema"

var errNotReferred = errors.New("it is not among the schema's references, and nothing else is opened")

// referred gives a compiler the documents that a registry holds, and no others.
type referred map[string]any

func (r referred) Load(address string) (any, error) {
	if doc, ok := r[address]; ok {
		return doc, nil
	}
	return nil, errNotReferred
}

func compileJSONSchema(s registry.Schema) (*jsonschema.Schema, error) {
	if s.Type != registry.JSON {
		return nil, fmt.Errorf("it is of type %s, not %s", s.Type, registry.JSON)
	}
	root, err := jsonschema.UnmarshalJSON(strings.NewReader(s.Text))
	if err != nil {
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	docs, err := documents(s.References, schemaID(root))
	if err != nil {
		return nil, err
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(docs)
	if err := c.AddResource(rootURL, root); err != nil {
		return nil, err
	}
	return c.Compile(rootURL)
}

// documents are the references by all addresses by which others may call them: their
// names, alone and from where the schema and the references themselves stand.
func documents(refs []registry.Reference, rootID string) (referred, error) {
	bases := []string{rootURL, rootID}
	parsed := make([]any, len(refs))
	for i, r := range refs {
		var err error
		if parsed[i], err = jsonschema.UnmarshalJSON(strings.NewReader(r.Text)); err != nil {
			return nil, fmt.Errorf("reference %q: not JSON: %w", r.Name, err)
		}
		bases = append(bases, resolved(rootURL, r.Name), schemaID(parsed[i]))
	}
	docs := referred{}
	for i, r := range refs {
		for _, base := range bases {
			docs[resolved(base, r.Name)] = parsed[i]
		}
	}
	return docs, nil
}

func schemaID(doc any) string {
	if m, ok := doc.(map[string]any); ok {
		for _, name := range []string{"$id", "id"} {
			if id, ok := m[name].(string); ok {
				return id
			}
		}
	}
	return ""
}

// resolved is where a name leads from a base; the name itself if that is no address.
func resolved(base, name string) string {
	b, err := url.Parse(base)
	if err != nil {
		return name
	}
	u, err := b.Parse(name)
	if err != nil {
		return name
	}
	return u.String()
}

// propertyNames collects the names that the schema itself speaks of.
func propertyNames(into map[string]bool, s registry.Schema) {
	texts := []string{s.Text}
	for _, r := range s.References {
		texts = append(texts, r.Text)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if properties, ok := v["properties"].(map[string]any); ok {
				for name := range properties {
					into[name] = true
				}
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	for _, text := range texts {
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			walk(v)
		}
	}
}

func (f *jsonFormat) record() string { return f.title }

func (f *jsonFormat) encoder(s registry.Schema) ([]byte, encodeFunc, error) {
	schema, err := compileJSONSchema(s)
	if err != nil {
		return nil, nil, err
	}
	return nil, func(dst []byte, v any) ([]byte, error) {
		out, err := appendJSON(dst, v)
		if err != nil || f.trustWrites {
			return out, err
		}
		return out, f.validate(schema, out[len(dst):])
	}, nil
}

func (f *jsonFormat) decoder(writer registry.Schema) (decodeFunc, error) {
	if writer.Type != registry.JSON {
		return nil, fmt.Errorf("it is of type %s, not %s", writer.Type, registry.JSON)
	}
	return func(m message, v any) ([]byte, error) {
		switch {
		case len(m.head) > 0:
			return m.head, nil // left over
		case !f.null && string(bytes.TrimSpace(m.body)) == "null":
			return nil, ErrNull
		}
		if !f.trustReads {
			if err := f.validate(f.schema, m.body); err != nil {
				return nil, err
			}
		}
		return nil, json.Unmarshal(m.body, v)
	}, nil
}

func (f *jsonFormat) validate(schema *jsonschema.Schema, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if err := numbers(v); err != nil {
		return err
	}
	var invalid *jsonschema.ValidationError
	switch err := schema.Validate(v); {
	case err == nil:
		return nil
	case errors.As(err, &invalid):
		return &ViolationError{Violations: violations(nil, invalid), names: f.names}
	default:
		return err
	}
}

// What bounds numbers: the validator counts with every digit, so that 1e999999 would cost it
// megabytes, and from 1e1000001 on it panics.
const (
	maxExponent = 400
	maxDigits   = 1000
)

var errNumber = fmt.Errorf("a number with an exponent beyond ±%d, or of more than %d digits", maxExponent, maxDigits)

// numbers refuses a value with numbers that must not come before the validator.
func numbers(v any) error {
	switch v := v.(type) {
	case json.Number:
		at := strings.IndexAny(string(v), "eE")
		if len(v) > maxDigits {
			return errNumber
		}
		if at < 0 {
			return nil
		}
		if e, err := strconv.Atoi(string(v[at+1:])); err != nil || max(e, -e) > maxExponent {
			return errNumber
		}
	case []any:
		for _, item := range v {
			if err := numbers(item); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, item := range v {
			if err := numbers(item); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *jsonFormat) detail(err error) string {
	var violated *ViolationError
	switch {
	case errors.As(err, &violated):
		return violated.summary()
	case errors.Is(err, ErrNull):
		return ""
	case errors.Is(err, errNumber):
		return errNumber.Error()
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "ends too early"
	}
	var e *DecodeError
	if errors.As(jsonError(err), &e) {
		return e.Detail
	}
	return fmt.Sprintf("refused by the type (%T)", err)
}

// Violation is one way in which a value does not satisfy its schema.
type Violation struct {
	// Path leads to the violating part: names of properties and indexes of items,
	// outermost first. Names may be the record's own.
	Path []string
	// Rule is the place of the rule in the schema: its address, '#', and a JSON
	// pointer.
	Rule string
}

// ViolationError holds all violations of one value. Its text shows of their paths what
// the schema names, and '*' for the rest; nothing of the record.
type ViolationError struct {
	Violations []Violation
	names      map[string]bool
}

// maxShown bounds the violations in a text.
const maxShown = 5

// Error implements error.
func (e *ViolationError) Error() string { return ErrInvalidValue.Error() + ": " + e.summary() }

// Is tells that it is ErrInvalidValue.
func (e *ViolationError) Is(target error) bool { return target == ErrInvalidValue }

func (e *ViolationError) summary() string {
	var b strings.Builder
	for i, v := range e.Violations {
		if i == maxShown {
			fmt.Fprintf(&b, "; and %d more", len(e.Violations)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		for _, part := range v.Path {
			if !e.names[part] && strings.Trim(part, "0123456789") != "" {
				part = "*"
			}
			b.WriteString("/" + part)
		}
		if len(v.Path) == 0 {
			b.WriteString("/")
		}
		rule := v.Rule
		if at := strings.IndexByte(rule, '#'); at >= 0 {
			rule = rule[at:]
		}
		b.WriteString(" violates " + rule)
	}
	return b.String()
}

// violations collects the innermost causes, which are the rules that a value breaks.
func violations(all []Violation, e *jsonschema.ValidationError) []Violation {
	if len(e.Causes) == 0 {
		rule := e.SchemaURL
		if !strings.Contains(rule, "#") {
			rule += "#"
		}
		for _, part := range e.ErrorKind.KeywordPath() {
			rule += "/" + part
		}
		return append(all, Violation{Path: slices.Clone(e.InstanceLocation), Rule: rule})
	}
	for _, c := range e.Causes {
		all = violations(all, c)
	}
	return all
}
