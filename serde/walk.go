package serde

import (
	"fmt"
	"strings"

	"github.com/twmb/avro"

	"github.com/leat-stream/leat/serde/internal/walk"
)

var kinds = map[string]walk.Kind{
	"null": walk.Null, "boolean": walk.Boolean, "int": walk.Int, "long": walk.Long, "float": walk.Float, "double": walk.Double,
	"string": walk.String, "bytes": walk.Bytes, "fixed": walk.Fixed, "enum": walk.Enum, "union": walk.Union,
	"record": walk.Record, "error": walk.Record, "array": walk.Array, "map": walk.Map,
}

// nodeOf is the schema as package walk has it. Named holds what is known of it already, by
// full names; within is the namespace around it, in which short names stand.
func nodeOf(s *avro.SchemaNode, within string, named map[string]*walk.Node) (*walk.Node, error) {
	kind, ok := kinds[s.Type]
	if !ok {
		for _, name := range []string{qualified(s.Type, within), s.Type} {
			if n := named[name]; n != nil {
				return n, nil
			}
		}
		return nil, fmt.Errorf("schema of type %s is not known", s.Type)
	}
	n := &walk.Node{Kind: kind, Size: s.Size}
	if s.Name != "" {
		name := fullName(s)
		if s.Namespace == "" {
			name = qualified(name, within)
		}
		named[name] = n
		within = name[:max(0, strings.LastIndexByte(name, '.'))]
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
		of, err := nodeOf(i, within, named)
		if err != nil {
			return nil, err
		}
		n.Of = append(n.Of, of)
	}
	return n, nil
}

// qualified is a name with the namespace around it, unless it has one.
func qualified(name, within string) string {
	if within == "" || strings.Contains(name, ".") {
		return name
	}
	return within + "." + name
}
