package serde

import (
	"fmt"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/internal/walk"
)

var kinds = map[string]walk.Kind{
	"null": walk.Null, "boolean": walk.Boolean, "int": walk.Int, "long": walk.Long, "float": walk.Float, "double": walk.Double,
	"string": walk.String, "bytes": walk.Bytes, "fixed": walk.Fixed, "enum": walk.Enum, "union": walk.Union,
	"record": walk.Record, "error": walk.Record, "array": walk.Array, "map": walk.Map,
}

// nodeOf is the schema as package walk has it. Named holds what is known of it already.
func nodeOf(s *avro.SchemaNode, named map[string]*walk.Node) (*walk.Node, error) {
	kind, ok := kinds[s.Type]
	if !ok {
		if n := named[s.Type]; n != nil {
			return n, nil
		}
		return nil, fmt.Errorf("schema of type %s is not known", s.Type)
	}
	n := &walk.Node{Kind: kind, Size: s.Size}
	if s.Name != "" {
		named[fullName(s)] = n
	}
	var inner []*avro.SchemaNode
	switch kind {
	case walk.Enum:
		n.Size = len(s.Symbols)
	case walk.Union:
		for i := range s.Branches {
			inner = append(inner, &s.Branches[i])
		}
	case walk.Record:
		for i := range s.Fields {
			inner = append(inner, &s.Fields[i].Type)
		}
	case walk.Array:
		inner = append(inner, s.Items)
	case walk.Map:
		inner = append(inner, s.Values)
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
