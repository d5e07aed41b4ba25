package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// avroAsJSON is an AvroCodec whose values are JSON that people read. Avro's own JSON
// shows a decimal as the bytes of its number and a date as a count of days; this shows
//   - a record's fields in the order of the writer's schema, and a map's keys sorted;
//   - of a union the value alone;
//   - bytes and fixed in base64, a decimal as a string with all its digits;
//   - dates, times and timestamps as in RFC 3339, those that are local without a zone,
//     durations as in ISO 8601;
//   - NaN and the infinities as strings.
type avroAsJSON struct{}

var _ serde.AvroCodec = avroAsJSON{}

var errReadsOnly = errors.New("leat cat writes nothing")

// Encoder implements serde.AvroCodec.
func (avroAsJSON) Encoder(registry.Schema) (func([]byte, any) ([]byte, error), error) {
	return nil, errReadsOnly
}

// Decoder implements serde.AvroCodec.
func (avroAsJSON) Decoder(writer, _ registry.Schema) (func([]byte, any) ([]byte, error), error) {
	var known avro.SchemaCache
	p := &avroPrinter{named: map[string]*avro.SchemaNode{}}
	for _, r := range writer.References {
		s, err := known.Parse(r.Text)
		if err != nil {
			return nil, fmt.Errorf("reference %q: %w", r.Name, err)
		}
		root := s.Root()
		p.learn(root, "")
	}
	s, err := known.Parse(writer.Text)
	if err != nil {
		return nil, err
	}
	root := s.Root()
	p.learn(root, "")
	return func(data []byte, v any) ([]byte, error) {
		var datum any
		rest, err := s.Decode(data, &datum, avro.TaggedUnions())
		if err != nil {
			return nil, err
		}
		text, err := p.append(nil, root, datum)
		if out, ok := v.(*any); ok {
			*out = json.RawMessage(text)
		}
		return rest, err
	}, nil
}

// avroPrinter prints what was decoded, with its unions tagged.
type avroPrinter struct{ named map[string]*avro.SchemaNode }

func fullName(n *avro.SchemaNode) string {
	if n.Namespace == "" {
		return n.Name
	}
	return n.Namespace + "." + n.Name
}

// learn notes the types that have names, and writes those in full where they are but
// named: a short name is one of the namespace around it.
func (p *avroPrinter) learn(n *avro.SchemaNode, namespace string) {
	switch n.Type {
	case "record", "error":
		p.named[fullName(n)] = n
		for i := range n.Fields {
			p.learn(&n.Fields[i].Type, n.Namespace)
		}
	case "enum", "fixed":
		p.named[fullName(n)] = n
	case "array":
		p.learn(n.Items, namespace)
	case "map":
		p.learn(n.Values, namespace)
	case "union":
		for i := range n.Branches {
			p.learn(&n.Branches[i], namespace)
		}
	case "null", "boolean", "int", "long", "float", "double", "bytes", "string":
	default:
		if namespace != "" && !strings.Contains(n.Type, ".") {
			n.Type = namespace + "." + n.Type
		}
	}
}

func (p *avroPrinter) append(dst []byte, n *avro.SchemaNode, v any) (_ []byte, err error) {
	if n == nil {
		n = &avro.SchemaNode{}
	}
	if known := p.named[n.Type]; known != nil {
		n = known
	}
	switch v := v.(type) {
	case map[string]any:
		switch n.Type {
		case "record", "error":
			return p.record(dst, n, v)
		case "union":
			for name, value := range v {
				return p.append(dst, p.branch(n, name), value)
			}
		case "map":
			dst = append(dst, '{')
			for i, name := range slices.Sorted(maps.Keys(v)) {
				dst = member(dst, i, name)
				if dst, err = p.append(dst, n.Values, v[name]); err != nil {
					return nil, err
				}
			}
			return append(dst, '}'), nil
		}
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = p.append(dst, n.Items, item); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	}
	return p.leaf(dst, n, v)
}

func (p *avroPrinter) record(dst []byte, n *avro.SchemaNode, v map[string]any) (_ []byte, err error) {
	dst = append(dst, '{')
	for i := range n.Fields {
		f := &n.Fields[i]
		dst = member(dst, i, f.Name)
		if dst, err = p.append(dst, &f.Type, v[f.Name]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

func member(dst []byte, i int, name string) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	return append(append(dst, inQuotes([]byte(name))...), ':')
}

// branch is the union's type of that name.
func (p *avroPrinter) branch(union *avro.SchemaNode, name string) *avro.SchemaNode {
	for i := range union.Branches {
		b := &union.Branches[i]
		if known := p.named[b.Type]; known != nil {
			b = known
		}
		if b.Type == name || b.Name != "" && fullName(b) == name {
			return b
		}
	}
	return &avro.SchemaNode{Type: name}
}

func (p *avroPrinter) leaf(dst []byte, n *avro.SchemaNode, v any) ([]byte, error) {
	switch x := v.(type) {
	case time.Time:
		v = instant(n.LogicalType, x)
	case time.Duration:
		v = time.Time{}.Add(x).Format("15:04:05.999999999")
	case *big.Rat:
		v = x.FloatString(n.Scale)
	case avro.Duration:
		v = x.String()
	case float32:
		if f := float64(x); math.IsNaN(f) || math.IsInf(f, 0) {
			v = fmt.Sprint(f)
		}
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			v = fmt.Sprint(x)
		}
	}
	text, err := marshal(v)
	return append(dst, text...), err
}

func instant(logical string, t time.Time) string {
	switch logical {
	case "date":
		return t.UTC().Format(time.DateOnly)
	case "local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos":
		return t.UTC().Format("2006-01-02T15:04:05.999999999")
	}
	return t.UTC().Format(time.RFC3339Nano)
}
