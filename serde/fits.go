package serde

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/avro"
)

// fits checks that a Go type can hold what a schema describes, by decoding made
// data. A type with a missing or mistyped field fails for every record alike; it
// must not be found out by sending each of them to the dead letters.
//
// Only what the library says about types counts. A field whose own UnmarshalText
// refuses the empty string is no mistake.
func fits(root *avro.SchemaNode, decode func([]byte, any) ([]byte, error), newValue func() any) error {
	g := &sampler{named: map[string]*avro.SchemaNode{}}
	g.index(root)
	for g.branch = 0; g.branch == 0 || g.branch < g.widest; g.branch++ {
		g.open, g.steps = map[string]int{}, 0
		data, ok := g.append(nil, root)
		if !ok {
			return nil // nothing finite can be made: leave it to the records
		}
		_, err := decode(data, newValue())
		var semantic *avro.SemanticError
		if errors.As(err, &semantic) && semantic.GoType != nil && misfit(semantic.Err) {
			return fmt.Errorf("the Go type does not fit the schema: %w", semantic)
		}
	}
	return nil
}

func misfit(err error) bool {
	return err == nil || strings.HasPrefix(err.Error(), "missing field ")
}

// sampler makes a datum of a schema with every array and map of one entry and
// every union on its branch number branch, or the last if it has fewer.
type sampler struct {
	named  map[string]*avro.SchemaNode
	open   map[string]int
	branch int
	widest int
	steps  int
}

// A schema may describe more than fits into memory: types that hold the next one
// twice double at every level.
const (
	maxSampleSteps = 100_000
	maxSampleBytes = 1 << 20
)

func fullName(n *avro.SchemaNode) string {
	if n.Namespace != "" && !strings.Contains(n.Name, ".") {
		return n.Namespace + "." + n.Name
	}
	return n.Name
}

func (g *sampler) index(n *avro.SchemaNode) {
	if n == nil {
		return
	}
	if n.Name != "" {
		g.named[fullName(n)] = n
	}
	for i := range n.Fields {
		g.index(&n.Fields[i].Type)
	}
	g.index(n.Items)
	g.index(n.Values)
	g.widest = max(g.widest, len(n.Branches))
	for i := range n.Branches {
		g.index(&n.Branches[i])
	}
}

func (g *sampler) append(dst []byte, n *avro.SchemaNode) ([]byte, bool) {
	if g.steps++; g.steps > maxSampleSteps || len(dst) > maxSampleBytes || n.Size > maxSampleBytes {
		return nil, false
	}
	switch n.Type {
	case "null":
		return dst, true
	case "boolean", "int", "long", "enum":
		return append(dst, 0), true
	case "float":
		return append(dst, make([]byte, 4)...), true
	case "double":
		return append(dst, make([]byte, 8)...), true
	case "fixed":
		return append(dst, make([]byte, n.Size)...), true
	case "bytes", "string":
		return appendSample(dst, n.LogicalType), true
	case "array", "map":
		return g.container(dst, n)
	case "union":
		return g.union(dst, n)
	case "record", "error":
		return g.record(dst, n)
	}
	if def, ok := g.named[n.Type]; ok {
		return g.append(dst, def)
	}
	return nil, false
}

func appendSample(dst []byte, logical string) []byte {
	var text string
	switch logical {
	case "uuid":
		text = "00000000-0000-0000-0000-000000000000"
	case "decimal":
		text = "\x00"
	case "big-decimal":
		text = "\x02\x00\x00" // an unscaled 0 and the scale 0
	}
	return append(binary.AppendVarint(dst, int64(len(text))), text...)
}

func (g *sampler) container(dst []byte, n *avro.SchemaNode) ([]byte, bool) {
	item := n.Items
	head := append(dst[:len(dst):len(dst)], 2) // a block of one entry
	if n.Type == "map" {
		item = n.Values
		head = append(head, 0) // with an empty key
	}
	if out, ok := g.append(head, item); ok {
		return append(out, 0), true
	}
	return append(dst, 0), true // recursion ends in an empty one
}

func (g *sampler) union(dst []byte, n *avro.SchemaNode) ([]byte, bool) {
	first := min(g.branch, len(n.Branches)-1)
	for i := range n.Branches {
		at := (first + i) % len(n.Branches)
		if out, ok := g.append(binary.AppendVarint(dst[:len(dst):len(dst)], int64(at)), &n.Branches[at]); ok {
			return out, true
		}
	}
	return nil, false
}

func (g *sampler) record(dst []byte, n *avro.SchemaNode) ([]byte, bool) {
	name := fullName(n)
	if g.open[name] > 0 {
		return nil, false
	}
	g.open[name]++
	defer func() { g.open[name]-- }()
	ok := true
	for i := range n.Fields {
		if dst, ok = g.append(dst, &n.Fields[i].Type); !ok {
			return nil, false
		}
	}
	return dst, true
}
