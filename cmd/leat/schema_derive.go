package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/twmb/avro"
)

const deriveNote = `Examples are JSON documents, one after the other; - is the standard input. What is printed is a draft: it
knows what is in the examples and nothing else. Avro: an integer is a long, what an example lacks may be
null. JSON Schema: what every example has is required, other properties stay allowed. Neither guesses
enums, maps, decimals, times or limits. Of a Go type, Leat's serdes derive the schema themselves.
`

func runSchemaDerive(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("leat schema derive", flag.ContinueOnError)
	typ := fs.String("type", "avro", "avro or json")
	name := fs.String("name", "", "`name` of the record; for Avro it may have a namespace, as in com.acme.Order (required)")
	if err := parseSchema(fs, nil, args, "EXAMPLES.json\n\n"+deriveNote, stderr); err != nil {
		return err
	}
	switch {
	case *typ != "avro" && *typ != "json":
		return usage(stderr, "schema derive", "--type is avro or json, not %q; Protobuf needs numbers, which no example has", *typ)
	case *name == "":
		return usage(stderr, "schema derive", "--name is required")
	}
	text, err := readInput(fs.Arg(0))
	if err != nil {
		return err
	}
	all, err := shapeOf(text)
	if err != nil {
		return fmt.Errorf("%s: %w", fs.Arg(0), err)
	}
	d := deriver{shape: all}
	var schema ordered
	if *typ == "avro" {
		schema, err = d.avro(*name)
	} else {
		schema = d.jsonSchema(*name)
	}
	if err != nil {
		return err
	}
	for _, n := range d.notes {
		fmt.Fprintln(stderr, "leat schema derive: "+n)
	}
	return writeJSON(stdout, schema)
}

// deriver makes a schema of a shape.
type deriver struct {
	shape *shape
	notes []string // what had to be guessed
	names map[string]bool
}

// ordered is an object of JSON whose members keep their order.
type ordered []entry

type entry struct {
	name  string
	value any
}

// MarshalJSON implements json.Marshaler.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, e := range o {
		text, err := marshal(e.value)
		if err != nil {
			return nil, err
		}
		b.Write(member(nil, i, e.name))
		b.Write(text)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

var avroName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (d *deriver) avro(fullName string) (ordered, error) {
	if !d.shape.isObject() {
		return nil, fmt.Errorf("the examples are not all objects, and a record is one")
	}
	d.names = map[string]bool{}
	namespace, name, _ := cutLast("."+fullName, ".")
	namespace = strings.TrimPrefix(namespace, ".")
	out, err := d.record(name, namespace, d.shape, "")
	if err != nil {
		return nil, err
	}
	text, err := marshal(out)
	if err == nil {
		_, err = avro.Parse(string(text)) // names, above all
	}
	return out, err
}

func (d *deriver) record(name, namespace string, s *shape, at string) (ordered, error) {
	d.names[name] = true
	out := ordered{{"type", "record"}, {"name", name}}
	if namespace != "" {
		out = append(out, entry{"namespace", namespace})
	}
	fields := []ordered{}
	for _, f := range s.names {
		field := s.fields[f]
		if !avroName.MatchString(f) {
			return nil, fmt.Errorf("%s/%s: Avro allows no such name of a field; letters, digits and _ only", at, f)
		}
		typ, err := d.avroType(f, field, field.seen < s.objects, at+"/"+f)
		if err != nil {
			return nil, err
		}
		o := ordered{{"name", f}, {"type", typ}}
		if union, ok := typ.([]any); ok && union[0] == "null" {
			o = append(o, entry{"default", nil})
		}
		fields = append(fields, o)
	}
	return append(out, entry{"fields", fields}), nil
}

// avroType is a type, or a union of several.
func (d *deriver) avroType(name string, s *shape, optional bool, at string) (any, error) {
	var types []any
	if s.null > 0 || optional {
		types = append(types, "null")
	}
	if s.bools > 0 {
		types = append(types, "boolean")
	}
	switch {
	case s.fractions > 0:
		types = append(types, "double")
	case s.integers > 0:
		types = append(types, "long")
	}
	if s.strings > 0 {
		types = append(types, "string")
	}
	if s.items != nil {
		item, err := d.avroType(name, s.items, false, at+"/*")
		if err != nil {
			return nil, err
		}
		types = append(types, ordered{{"type", "array"}, {"items", item}})
	}
	if s.objects > 0 {
		record, err := d.record(d.free(name), "", s, at)
		if err != nil {
			return nil, err
		}
		types = append(types, record)
	}
	switch {
	case len(types) == 0 || len(types) == 1 && types[0] == "null":
		d.note(at, "no example has a value; string is a guess")
		if len(types) == 0 {
			return "string", nil
		}
		types = append(types, "string")
	case len(types) > 2 || len(types) == 2 && types[0] != "null":
		d.note(at, "values of several types: a union")
	}
	if s.fractions > 0 && s.integers > 0 || s.huge {
		d.note(at, "a double has 15 digits; is it enough?")
	}
	if len(types) == 1 {
		return types[0], nil
	}
	return types, nil
}

func (d *deriver) note(at, text string) { d.notes = append(d.notes, at+": "+text) }

// free is a type's name after its field's, which no other type has.
func (d *deriver) free(field string) string {
	base := strings.ToUpper(field[:1]) + field[1:]
	name := base
	for i := 2; d.names[name]; i++ {
		name = base + strconv.Itoa(i)
	}
	return name
}

func (d *deriver) jsonSchema(title string) ordered {
	return append(ordered{{"$schema", "http://json-schema.org/draft-07/schema#"}, {"title", title}}, d.jsonType(d.shape, "")...)
}

func (d *deriver) jsonType(s *shape, at string) (out ordered) {
	types := []string{}
	for _, t := range []struct {
		name string
		has  bool
	}{
		{"object", s.objects > 0}, {"array", s.items != nil}, {"string", s.strings > 0}, {"number", s.fractions > 0},
		{"integer", s.integers > 0 && s.fractions == 0}, {"boolean", s.bools > 0}, {"null", s.null > 0},
	} {
		if t.has {
			types = append(types, t.name)
		}
	}
	switch {
	case len(types) == 0:
		d.note(at, "no example has a value; anything is allowed")
		return ordered{}
	case len(types) == 1:
		out = ordered{{"type", types[0]}}
	default:
		out = ordered{{"type", types}}
	}
	if s.objects > 0 {
		properties, required := ordered{}, []string{}
		for _, name := range s.names {
			properties = append(properties, entry{name, d.jsonType(s.fields[name], at+"/"+name)})
			if s.fields[name].seen == s.objects {
				required = append(required, name)
			}
		}
		out = append(out, entry{"properties", properties})
		if len(required) > 0 {
			out = append(out, entry{"required", required})
		}
	}
	if s.items != nil {
		out = append(out, entry{"items", d.jsonType(s.items, at+"/*")})
	}
	return out
}
