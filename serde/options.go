package serde

import (
	"errors"
	"fmt"

	"github.com/leat-stream/leat/serde/registry"
)

// DefaultMaxSchemas is the default of [MaxSchemas].
const DefaultMaxSchemas = 1000

// Option is an option of the serdes that use a schema registry: [Avro], [JSONSchema]
// and [Protobuf]. One that a serde does not have is reported by its Validate.
type Option func(*options)

type options struct {
	schema                                         string
	given                                          bool
	references                                     []registry.Reference
	subject                                        SubjectName
	find                                           find
	id                                             int
	check                                          bool
	inHeader                                       bool
	maxSchemas                                     int
	codec                                          AvroCodec
	trustWrites, trustReads, descriptor, nilIsNull bool
	foreign                                        []ownedOption
}

// find says how a writer comes by its schema's id.
type find uint8

const (
	findRegister find = iota
	findLookup
	findLatest
	findID
	findNothing // there is no schema to write with
)

// ownedOption is an option that only some formats have.
type ownedOption struct{ name, format string }

func newOptions(opts []Option) options {
	o := options{maxSchemas: DefaultMaxSchemas, subject: TopicName, codec: Twmb{}}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// Schema gives the schema: in Avro's JSON (.avsc), as a JSON Schema, or as a .proto
// file, which [Protobuf] derives from its type otherwise. It is what is written, and
// what everything read must fit. For Avro it is recommended: without it the schema is
// derived from T, and a derived one knows no enums, since Go has none. A field of a
// named string type becomes a plain string, which cannot be resolved with the enum that
// other programs write.
func Schema(text string) Option {
	return func(o *options) { o.schema, o.given = text, true }
}

// References are the schemas that Schema refers to: named types in Avro, $ref in JSON
// Schema, imports in Protobuf. Each needs Name, Subject and Text, and stands after those
// that it refers to itself. One without a Version is registered under its Subject, or
// looked up there with AutoRegister(false).
func References(refs ...registry.Reference) Option {
	return func(o *options) { o.references = append(o.references, refs...) }
}

// Subject says under which subject of the registry the schema stands. Default
// [TopicName].
func Subject(name SubjectName) Option { return func(o *options) { o.subject = name } }

// AutoRegister says whether a schema that its subject does not have yet is
// registered there (default true). Off, it must be there already; that it is not
// stops the pipeline. Confluent: auto.register.schemas.
func AutoRegister(on bool) Option {
	return func(o *options) {
		o.find = findLookup
		if on {
			o.find = findRegister
		}
	}
}

// UseLatest writes with the latest schema of the subject, as of the start, whatever
// the serde's own is; T must fit it. Confluent: use.latest.version.
func UseLatest() Option { return func(o *options) { o.find = findLatest } }

// UseID writes with the schema of that id, whatever the serde's own is; T must fit it.
// Confluent: use.schema.id.
func UseID(id int) Option { return func(o *options) { o.find, o.id = findID, id } }

// CheckCompatibility asks, before anything is read or registered, whether the schema
// may follow the subject's earlier ones, and fails with the registry's reasons if not:
// a *registry.Error with Reasons. It is of use without AutoRegister, too.
func CheckCompatibility() Option { return func(o *options) { o.check = true } }

// InHeader writes the schema's GUID into a header, [HeaderValueSchemaID] or
// [HeaderKeySchemaID], in place of the prefix before the bytes, for readers that know
// the header form; Leat's read both. The registry must give GUIDs, as Confluent's does
// from version 8.
func InHeader() Option { return func(o *options) { o.inHeader = true } }

// MaxSchemas bounds the writers' schemas kept compiled, at least 1. Default
// 1,000; beyond it the oldest is compiled again when needed, after a look-up in
// the registry client's own cache.
func MaxSchemas(n int) Option {
	return func(o *options) { o.maxSchemas = n }
}

// Codec replaces the Avro library. Default: [Twmb] with its defaults.
func Codec(c AvroCodec) Option {
	return func(o *options) {
		o.codec = c
		o.foreign = append(o.foreign, ownedOption{"Codec", "Avro"})
	}
}

// mistakes returns what is wrong with the options for a format.
func (o *options) mistakes(format string) error {
	var errs []error
	bad := func(text string, args ...any) { errs = append(errs, fmt.Errorf(text, args...)) }
	for _, f := range o.foreign {
		if f.format != format {
			bad("%s is an option of %s", f.name, f.format)
		}
	}
	if o.maxSchemas < 1 {
		bad("MaxSchemas: %d is less than 1", o.maxSchemas)
	}
	if o.subject == nil {
		bad("Subject: nil")
	}
	if o.find == findID && o.id < 1 {
		bad("UseID: %d is no id", o.id)
	}
	if o.find == findID && o.inHeader {
		bad("UseID and InHeader: a registry does not give the GUID of an id")
	}
	for i, r := range o.references {
		if r.Name == "" || r.Subject == "" || r.Text == "" {
			bad("References[%d]: needs Name, Subject and Text", i)
		}
	}
	return errors.Join(errs...)
}
