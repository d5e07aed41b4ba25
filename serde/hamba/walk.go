package hamba

import (
	"fmt"
	"math"

	"github.com/hamba/avro/v2"
)

// datumError says what is wrong with a datum, and where, without quoting it.
type datumError struct {
	what string
	at   int
}

func (e *datumError) Error() string { return fmt.Sprintf("%s, at byte %d", e.what, e.at) }

// SafeError tells serde that the text may be shown.
func (e *datumError) SafeError() string { return e.Error() }

// walker goes over one datum and stops at the first thing that Avro's
// specification does not allow. It allocates nothing but the error.
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

func (w *walker) value(s avro.Schema) error {
	switch s := s.(type) {
	case *avro.RefSchema:
		return w.value(s.Schema())
	case *avro.NullSchema:
		return nil
	case *avro.PrimitiveSchema:
		return w.primitive(s.Type())
	case *avro.FixedSchema:
		return w.skip(int64(s.Size()), "fixed")
	case *avro.EnumSchema:
		n, err := w.int("enum")
		if err == nil && (n < 0 || n >= int64(len(s.Symbols()))) {
			err = w.bad("enum: index %d of %d symbols", n, len(s.Symbols()))
		}
		return err
	case *avro.UnionSchema:
		n, err := w.int("union")
		if err != nil {
			return err
		}
		if n < 0 || n >= int64(len(s.Types())) {
			return w.bad("union: index %d of %d branches", n, len(s.Types()))
		}
		return w.value(s.Types()[n])
	case *avro.RecordSchema:
		return w.nested(func() error {
			for _, f := range s.Fields() {
				if err := w.value(f.Type()); err != nil {
					return err
				}
			}
			return nil
		})
	case *avro.ArraySchema:
		return w.nested(func() error { return w.blocks(func() error { return w.value(s.Items()) }) })
	case *avro.MapSchema:
		return w.nested(func() error {
			return w.blocks(func() error {
				if err := w.bytes("map key"); err != nil {
					return err
				}
				return w.value(s.Values())
			})
		})
	}
	return w.bad("schema of type %s is not known", s.Type())
}

func (w *walker) nested(do func() error) error {
	if w.depth++; w.depth > w.maxDepth {
		return w.bad("nested deeper than %d", w.maxDepth)
	}
	defer func() { w.depth-- }()
	return do()
}

func (w *walker) primitive(t avro.Type) error {
	switch t {
	case avro.Null:
		return nil
	case avro.Boolean:
		if w.at >= len(w.data) {
			return w.short("boolean")
		}
		if b := w.data[w.at]; b > 1 {
			return w.bad("boolean: neither 0 nor 1")
		}
		w.at++
		return nil
	case avro.Int:
		_, err := w.int("int")
		return err
	case avro.Long:
		_, err := w.long("long")
		return err
	case avro.Float:
		return w.skip(4, "float")
	case avro.Double:
		return w.skip(8, "double")
	case avro.String, avro.Bytes:
		return w.bytes(string(t))
	}
	return w.bad("schema of type %s is not known", t)
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
