package registry

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"
)

// Type is the language of a schema.
type Type string

// The types of schemas. The zero value counts as Avro, as in the registry's API.
const (
	Avro     Type = "AVRO"
	JSON     Type = "JSON"
	Protobuf Type = "PROTOBUF"
)

// Schema is a schema as a registry holds it.
type Schema struct {
	Type Type
	Text string
	// References are the schemas that Text refers to, theirs included, each
	// once, and each after those it refers to itself.
	References []Reference
}

// Reference is a schema that another one refers to.
type Reference struct {
	// Name is how the other schema calls it: in Avro the full name of the type,
	// in Protobuf the imported file.
	Name    string
	Subject string
	Version int
	// Text is the schema itself. It is filled in by SchemaByID; Register does
	// not need it.
	Text string
}

// Registered is a schema with the names that a registry has given it.
type Registered struct {
	Subject string
	Version int
	ID      int
	// GUID is the same in every registry that has the schema. It is empty unless the
	// registry gives it, as Confluent's does from version 8.
	GUID string
	Schema
}

func (s Schema) wire() (sr.Schema, error) {
	out := sr.Schema{Schema: s.Text}
	switch s.Type {
	case "", Avro:
		out.Type = sr.TypeAvro
	case JSON:
		out.Type = sr.TypeJSON
	case Protobuf:
		out.Type = sr.TypeProtobuf
	default:
		return sr.Schema{}, fmt.Errorf("schema type %q is not known", s.Type)
	}
	for _, r := range s.References {
		out.References = append(out.References, sr.SchemaReference{Name: r.Name, Subject: r.Subject, Version: r.Version})
	}
	return out, nil
}

func typeOf(t sr.SchemaType) Type {
	switch t {
	case sr.TypeAvro:
		return Avro
	case sr.TypeJSON:
		return JSON
	case sr.TypeProtobuf:
		return Protobuf
	}
	return Type(t.String())
}

// identity is what makes two registrations the same.
func (s Schema) identity() string {
	if len(s.References) == 0 {
		return s.Text
	}
	var b strings.Builder
	b.WriteString(s.Text)
	for _, r := range s.References {
		fmt.Fprintf(&b, "\x00%s\x00%s\x00%d", r.Name, r.Subject, r.Version)
	}
	return b.String()
}
