package hamba

import (
	"fmt"

	"github.com/hamba/avro/v2"

	"github.com/leat-stream/leat/serde/internal/walk"
)

var kinds = map[avro.Type]walk.Kind{
	avro.Null: walk.Null, avro.Boolean: walk.Boolean, avro.Int: walk.Int, avro.Long: walk.Long, avro.Float: walk.Float,
	avro.Double: walk.Double, avro.String: walk.String, avro.Bytes: walk.Bytes,
}

// nodeOf is the schema as package walk has it. Named holds what is known of it already.
func nodeOf(s avro.Schema, named map[string]*walk.Node) (*walk.Node, error) {
	n := new(walk.Node)
	var inner []avro.Schema
	switch s := s.(type) {
	case *avro.RefSchema:
		if known := named[s.Schema().FullName()]; known != nil {
			return known, nil
		}
		return nodeOf(s.Schema(), named)
	case *avro.NullSchema:
		return n, nil
	case *avro.PrimitiveSchema:
		kind, ok := kinds[s.Type()]
		if !ok {
			return nil, fmt.Errorf("schema of type %s is not known", s.Type())
		}
		n.Kind = kind
	case *avro.FixedSchema:
		n.Kind, n.Size = walk.Fixed, s.Size()
		named[s.FullName()] = n
	case *avro.EnumSchema:
		n.Kind, n.Size = walk.Enum, len(s.Symbols())
		named[s.FullName()] = n
	case *avro.UnionSchema:
		n.Kind, inner = walk.Union, s.Types()
	case *avro.RecordSchema:
		n.Kind = walk.Record
		named[s.FullName()] = n
		for _, f := range s.Fields() {
			inner = append(inner, f.Type())
		}
	case *avro.ArraySchema:
		n.Kind, inner = walk.Array, []avro.Schema{s.Items()}
	case *avro.MapSchema:
		n.Kind, inner = walk.Map, []avro.Schema{s.Values()}
	default:
		return nil, fmt.Errorf("schema of type %s is not known", s.Type())
	}
	for _, i := range inner {
		of, err := nodeOf(i, named)
		if err != nil {
			return nil, err
		}
		n.Of = append(n.Of, of)
	}
	return n, nil
}
