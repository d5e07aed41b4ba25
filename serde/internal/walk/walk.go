// Package walk goes over Avro data before a library decodes it, for libraries that take
// memory by what a record's counts say rather than by what is there.
package walk

import (
	"fmt"
	"math"
)

// Kind is what a schema describes.
type Kind uint8

// The kinds of Avro. Their names in errors are Avro's.
const (
	Null Kind = iota
	Boolean
	Int
	Long
	Float
	Double
	Bytes
	String
	Fixed
	Enum
	Union
	Record
	Array
	Map
)

// Node is a schema. Nodes of a schema that contains itself form a circle.
type Node struct {
	Kind Kind
	// Of are a union's branches, a record's fields, an array's items or a map's values.
	Of []*Node
	// Size is that of a fixed in bytes, or the number of an enum's symbols.
	Size int
}

// Limits bound what a datum may hold, each for itself.
type Limits struct {
	// Items of one array or map, Bytes of one string or bytes value, Depth of nesting.
	Items, Bytes int64
	Depth        int
}

// Check goes over one datum at the beginning of data and returns where it ends, or what
// Avro's specification or the limits do not allow. It allocates nothing but the error.
func (n *Node) Check(data []byte, l Limits) (end int, err error) {
	w := walker{data: data, maxItems: l.Items, maxBytes: l.Bytes, maxDepth: l.Depth}
	err = w.value(n)
	return w.at, err
}

// Tree reports whether an array or map may contain itself: counts then multiply with
// the depth.
func (n *Node) Tree() bool { return n.reaches(map[*Node]bool{}, map[*Node]bool{}) }

// reaches looks for a way back into what is open. Open holds whether an array or map
// lies between; done what needs no second look.
func (n *Node) reaches(open, done map[*Node]bool) bool {
	if _, around := open[n]; around {
		return anyContainer(open)
	}
	if done[n] {
		return false
	}
	open[n] = n.Kind == Array || n.Kind == Map
	for _, inner := range n.Of {
		if inner.reaches(open, done) {
			return true
		}
	}
	delete(open, n)
	done[n] = true
	return false
}

// anyContainer is more than need be: the container may lie before the circle.
func anyContainer(open map[*Node]bool) bool {
	for _, container := range open {
		if container {
			return true
		}
	}
	return false
}

// datumError says what is wrong with a datum, and where, without quoting it.
type datumError struct {
	what string
	at   int
}

func (e *datumError) Error() string { return fmt.Sprintf("%s, at byte %d", e.what, e.at) }

// SafeError tells serde that the text may be shown.
func (e *datumError) SafeError() string { return e.Error() }

type walker struct {
	data     []byte
	at       int
	depth    int
	maxItems int64
	maxBytes int64
	maxDepth int
}

func (w *walker) bad(format string, args ...any) error {
	return &datumError{what: fmt.Sprintf(format, args...), at: w.at}
}

func (w *walker) value(n *Node) error {
	switch n.Kind {
	case Null:
		return nil
	case Boolean:
		if w.at >= len(w.data) {
			return w.short("boolean")
		}
		if b := w.data[w.at]; b > 1 {
			return w.bad("boolean: neither 0 nor 1")
		}
		w.at++
		return nil
	case Int:
		_, err := w.int("int")
		return err
	case Long:
		_, err := w.long("long")
		return err
	case Float:
		return w.skip(4, "float")
	case Double:
		return w.skip(8, "double")
	case String:
		return w.bytes("string")
	case Bytes:
		return w.bytes("bytes")
	case Fixed:
		return w.skip(int64(n.Size), "fixed")
	case Enum:
		i, err := w.int("enum")
		if err == nil && (i < 0 || i >= int64(n.Size)) {
			err = w.bad("enum: index %d of %d symbols", i, n.Size)
		}
		return err
	case Union:
		i, err := w.int("union")
		if err != nil {
			return err
		}
		if i < 0 || i >= int64(len(n.Of)) {
			return w.bad("union: index %d of %d branches", i, len(n.Of))
		}
		return w.value(n.Of[i])
	case Record:
		return w.nested(func() error {
			for _, field := range n.Of {
				if err := w.value(field); err != nil {
					return err
				}
			}
			return nil
		})
	case Array:
		return w.nested(func() error { return w.blocks(func() error { return w.value(n.Of[0]) }) })
	default: // Map
		return w.nested(func() error {
			return w.blocks(func() error {
				if err := w.bytes("map key"); err != nil {
					return err
				}
				return w.value(n.Of[0])
			})
		})
	}
}

func (w *walker) nested(do func() error) error {
	if w.depth++; w.depth > w.maxDepth {
		return w.bad("nested deeper than %d", w.maxDepth)
	}
	defer func() { w.depth-- }()
	return do()
}

func (w *walker) short(what string) error { return w.bad("%s: the bytes end too early", what) }

func (w *walker) skip(n int64, what string) error {
	if n > int64(len(w.data)-w.at) {
		return w.short(what)
	}
	w.at += int(n)
	return nil
}

func (w *walker) bytes(what string) error {
	n, err := w.long(what)
	switch {
	case err != nil:
		return err
	case n < 0:
		return w.bad("%s: negative length", what)
	case n > w.maxBytes:
		return w.bad("%s: more than %d bytes", what, w.maxBytes)
	}
	return w.skip(n, what)
}

// blocks walks the blocks of an array or map.
func (w *walker) blocks(item func() error) error {
	total := int64(0)
	for {
		count, err := w.long("block count")
		if err != nil {
			return err
		}
		if count == 0 {
			return nil
		}
		end := -1
		if count < 0 {
			if count == math.MinInt64 {
				return w.bad("block count out of range")
			}
			count = -count
			size, err := w.long("block size")
			if err != nil {
				return err
			}
			if size < 0 || size > int64(len(w.data)-w.at) {
				return w.bad("block size beyond the bytes that are there")
			}
			end = w.at + int(size)
		}
		// An item may take no bytes at all, so the bytes alone do not bound them.
		if count > w.maxItems-total {
			return w.bad("more than %d items", w.maxItems)
		}
		total += count
		for range count {
			if err := item(); err != nil {
				return err
			}
		}
		if end >= 0 && end != w.at {
			return w.bad("block size does not match its items")
		}
	}
}

func (w *walker) int(what string) (int64, error) {
	n, err := w.long(what)
	if err == nil && (n < math.MinInt32 || n > math.MaxInt32) {
		err = w.bad("%s: beyond 32 bits", what)
	}
	return n, err
}

func (w *walker) long(what string) (int64, error) {
	var u uint64
	for shift := uint(0); shift < 70; shift += 7 {
		if w.at >= len(w.data) {
			return 0, w.short(what)
		}
		b := w.data[w.at]
		w.at++
		if shift == 63 && b > 1 {
			break
		}
		u |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(u>>1) ^ -int64(u&1), nil
		}
	}
	return 0, w.bad("%s: beyond 64 bits", what)
}
