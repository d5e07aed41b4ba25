package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// The formats that keys and values can be read in.
const (
	formatAuto       = "auto"
	formatBytes      = "bytes"
	formatString     = "string"
	formatAvro       = "avro"
	formatJSONSchema = "jsonschema"
	formatProtobuf   = "protobuf"
)

var formats = []string{formatAuto, formatBytes, formatString, formatAvro, formatJSONSchema, formatProtobuf}

var formatOf = map[registry.Type]string{registry.Avro: formatAvro, registry.JSON: formatJSONSchema, registry.Protobuf: formatProtobuf}

func needsRegistry(format string) bool {
	return format == formatAvro || format == formatJSONSchema || format == formatProtobuf
}

// catLine is what is printed of a record. Its fields are what machines read.
type catLine struct {
	Topic       string          `json:"topic"`
	Partition   int32           `json:"partition"`
	Offset      int64           `json:"offset"`
	Timestamp   *string         `json:"timestamp"`
	Key         json.RawMessage `json:"key"`
	KeyFormat   string          `json:"keyFormat,omitempty"`
	KeySchema   any             `json:"keySchema,omitempty"`
	Value       json.RawMessage `json:"value,omitempty"` // null is "null"
	ValueFormat string          `json:"valueFormat,omitempty"`
	ValueSchema any             `json:"valueSchema,omitempty"`
	Headers     []catHeader     `json:"headers"`
	Error       string          `json:"error,omitempty"`
}

type catHeader struct {
	Key    string          `json:"key"`
	Value  json.RawMessage `json:"value"`
	Format string          `json:"format,omitempty"`
}

// view turns records into lines. It keeps writers' schemas, compiled, and nothing of
// records.
type view struct {
	key, value string
	registry   *registry.Client // may be nil
	avro       serde.Serde[any]
	json       serde.Serde[json.RawMessage]
	proto      serde.Serde[proto.Message]
	messages   messagePrinter
}

// newView takes the formats of keys and values, and the registry or nil.
func newView(key, value string, reg *registry.Client) (*view, error) {
	v := &view{key: key, value: value, registry: reg}
	if v.registry == nil {
		return v, nil
	}
	v.avro = serde.AvroAny(v.registry, serde.Codec(avroAsJSON{}))
	v.json = serde.JSONSchema[json.RawMessage](v.registry, serde.Schema("{}"), serde.ValidateReads(false))
	v.proto = serde.ProtobufAny(v.registry)
	for _, s := range []any{v.avro, v.json, v.proto} {
		if err := s.(serde.Validator).Validate(); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// line is a record's. The error is one of the registry or of ctx; what is wrong with the
// record is in the line.
func (v *view) line(ctx context.Context, r found) (*catLine, error) {
	l := &catLine{Topic: r.part.Topic, Partition: r.part.Partition, Offset: r.offset, Timestamp: timeText(r.at), Headers: []catHeader{}}
	var headers pipeline.Headers
	for _, h := range r.Headers {
		headers = append(headers, pipeline.Header{Key: string(h.Key), Value: h.Value})
		shown := catHeader{Key: strings.ToValidUTF8(string(h.Key), "\ufffd")}
		if shown.Value, shown.Format = plain(h.Value); shown.Format == formatString {
			shown.Format = ""
		}
		l.Headers = append(l.Headers, shown)
	}
	slot := pipeline.Slot{Topic: r.part.Topic, Headers: &headers}
	value, err := v.show(ctx, slot, v.value, r.Value)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	slot.Key = true
	key, err := v.show(ctx, slot, v.key, r.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	l.Key, l.KeyFormat, l.KeySchema = key.text, key.format, key.schema
	l.Value, l.ValueFormat, l.ValueSchema = value.text, value.format, value.schema
	var wrong []string
	if key.wrong != nil {
		wrong = append(wrong, "key: "+key.wrong.Error())
	}
	if value.wrong != nil {
		wrong = append(wrong, "value: "+value.wrong.Error())
	}
	l.Error = strings.Join(wrong, "; ")
	return l, nil
}

// timeText is nil for a record without a time.
func timeText(at time.Time) *string {
	if at.UnixMilli() < 0 { // -1 is none
		return nil
	}
	text := at.UTC().Format("2006-01-02T15:04:05.000Z")
	return &text
}

// shown is a key or a value.
type shown struct {
	text   json.RawMessage
	format string
	schema any   // an id, a GUID, or nil
	wrong  error // why text is but the bytes
}

func (v *view) show(ctx context.Context, at pipeline.Slot, format string, data []byte) (shown, error) {
	switch {
	case data == nil:
		return shown{text: json.RawMessage("null")}, nil
	case format == formatBytes:
		return shown{text: inBase64(data), format: formatBytes}, nil
	case format == formatString:
		if !utf8.Valid(data) {
			return shown{text: inBase64(data), format: formatBytes, wrong: serde.ErrNotUTF8}, nil
		}
		return shown{text: inQuotes(data), format: formatString}, nil
	case v.registry == nil:
		text, format := plain(data)
		return shown{text: text, format: format}, nil
	}
	for try := 0; ; try++ {
		out, err := v.decode(ctx, at, format, data)
		if err == nil || !pipeline.IsRetriable(err) || try == 4 {
			return out, err
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return out, context.Cause(ctx)
		}
	}
}

// decode reads data by the schema that it names.
func (v *view) decode(ctx context.Context, at pipeline.Slot, format string, data []byte) (out shown, err error) {
	asBytes := func(wrong error) (shown, error) {
		out.text, out.format, out.wrong = inBase64(data), formatBytes, wrong
		return out, nil
	}
	writer, kind := serde.WriterOf(at, data)
	if kind != nil {
		if format != formatAuto {
			return asBytes(fmt.Errorf("decode %s: %w", format, kind))
		}
		out.text, out.format = plain(data)
		return out, nil
	}
	schema, err := v.schema(ctx, writer)
	switch {
	case writer.ID != 0:
		out.schema = writer.ID
	default:
		out.schema = writer.GUID
	}
	switch {
	case errors.Is(err, registry.ErrNotFound) && !pipeline.IsFatal(err) && format == formatAuto:
		out.text, out.format = plain(data)
		return out, nil
	case errors.Is(err, registry.ErrNotFound) && !pipeline.IsFatal(err):
		return asBytes(fmt.Errorf("decode %s: %w", format, serde.ErrUnknownSchema))
	case errors.Is(err, registry.ErrNotFound): // a reference is missing
		return asBytes(err)
	case err != nil:
		return out, err
	}
	written := formatOf[schema.Type]
	if format != formatAuto && format != written {
		return asBytes(fmt.Errorf("decode %s: the schema is of type %s", format, schema.Type))
	}
	switch written {
	case formatAvro:
		var got any
		if got, err = v.avro.Decode(ctx, at, data); err == nil {
			out.text, err = asJSON(got)
		}
	case formatJSONSchema:
		out.text, err = v.json.Decode(ctx, at, data)
	case formatProtobuf:
		var m proto.Message
		if m, err = v.proto.Decode(ctx, at, data); err == nil {
			out.text, err = v.messages.print(m)
		}
	default:
		return asBytes(fmt.Errorf("schemas of type %s are not known", schema.Type))
	}
	switch {
	case pipeline.IsRetriable(err), ctx.Err() != nil:
		return out, err
	case err != nil:
		return asBytes(err)
	}
	out.format = written
	return out, nil
}

func (v *view) schema(ctx context.Context, w serde.WriterSchema) (registry.Schema, error) {
	if w.ID != 0 {
		return v.registry.SchemaByID(ctx, w.ID)
	}
	return v.registry.SchemaByGUID(ctx, w.GUID)
}

// plain is text if it reads as such, and else base64.
func plain(data []byte) (json.RawMessage, string) {
	switch {
	case data == nil:
		return json.RawMessage("null"), ""
	case isText(data):
		return inQuotes(data), formatString
	}
	return inBase64(data), formatBytes
}

// isText tells UTF-8 without control characters but white space.
func isText(data []byte) bool {
	if !utf8.Valid(data) {
		return false
	}
	for _, b := range data {
		if b < ' ' && b != '\t' && b != '\n' && b != '\r' || b == 0x7f {
			return false
		}
	}
	return true
}

func inQuotes(data []byte) json.RawMessage {
	text, err := marshal(string(data))
	if err != nil { // a string can always be marshalled
		return inBase64(data)
	}
	return text
}

// marshal is json.Marshal without escapes that only HTML needs.
func marshal(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, errNoJSON
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func inBase64(data []byte) json.RawMessage {
	return json.RawMessage(`"` + base64.StdEncoding.EncodeToString(data) + `"`)
}

var errNoJSON = errors.New("it cannot be shown as JSON")

func asJSON(v any) (json.RawMessage, error) {
	text, ok := v.(json.RawMessage)
	if !ok {
		return nil, errNoJSON
	}
	return text, nil
}
