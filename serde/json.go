package serde

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"

	"github.com/leat-stream/leat/pipeline"
)

// JSONOption is an option of [JSON].
type JSONOption func(*jsonOptions)

type jsonOptions struct{ strict bool }

// DisallowUnknownFields makes a field that the type does not have the record's
// error. Default: such fields are ignored, so that a writer may add some.
func DisallowUnknownFields() JSONOption {
	return func(o *jsonOptions) { o.strict = true }
}

// JSON is the serde of JSON by encoding/json and its struct tags, one value per
// record, without a schema. Bytes after the value are an error. The JSON value
// null is the record's error [ErrNull] unless T can be nil or decodes itself:
// otherwise it would silently become a zero T. The characters <, > and & are
// written as they are.
//
// Decode and Append cost what encoding/json does.
func JSON[T any](opts ...JSONOption) Serde[T] {
	s := &jsonSerde[T]{}
	for _, o := range opts {
		if o != nil {
			o(&s.opts)
		}
	}
	s.nilable = nilable(reflect.TypeFor[T]())
	s.values.New = func() any { return new(T) }
	return s
}

// nilable tells that a type has a value for null.
func nilable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Map, reflect.Slice:
		return true
	default:
		return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
	}
}

type jsonSerde[T any] struct {
	opts    jsonOptions
	nilable bool
	values  sync.Pool // *T
}

var jsonEncoders = sync.Pool{New: func() any {
	w := &appendWriter{}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return &jsonEncoder{w: w, enc: e}
}}

type jsonEncoder struct {
	w   *appendWriter
	enc *json.Encoder
}

type appendWriter struct{ buf []byte }

func (w *appendWriter) Write(p []byte) (int, error) {
	w.buf = append(w.buf, p...)
	return len(p), nil
}

func (s *jsonSerde[T]) Append(_ context.Context, dst []byte, _ pipeline.Slot, v T) ([]byte, error) {
	p, _ := s.values.Get().(*T)
	*p = v
	out, err := appendJSON(dst, p)
	s.release(p)
	if err != nil {
		return nil, &EncodeError{Format: "json", Detail: fmt.Sprintf("%T cannot be expressed (%T)", v, err), Cause: err}
	}
	return out, nil
}

// appendJSON appends what v points to.
func appendJSON(dst []byte, v any) ([]byte, error) {
	e, _ := jsonEncoders.Get().(*jsonEncoder)
	e.w.buf = dst
	err := e.enc.Encode(v)
	dst, e.w.buf = e.w.buf, nil
	jsonEncoders.Put(e)
	if err != nil {
		return nil, err
	}
	return dst[:len(dst)-1], nil // Encode ends its value with a newline
}

func (s *jsonSerde[T]) release(p *T) {
	var zero T
	*p = zero
	s.values.Put(p)
}

func (s *jsonSerde[T]) Decode(_ context.Context, _ pipeline.Slot, data []byte) (T, error) {
	var zero T
	switch {
	case data == nil:
		return zero, &DecodeError{Format: "json", Kind: pipeline.ErrTombstone}
	case len(data) == 0:
		return zero, &DecodeError{Format: "json", Kind: ErrEmpty}
	case !s.nilable && string(bytes.TrimSpace(data)) == "null":
		return zero, &DecodeError{Format: "json", Kind: ErrNull}
	}
	p, _ := s.values.Get().(*T)
	err := s.unmarshal(data, p)
	v := *p
	s.release(p)
	if err != nil {
		return zero, jsonError(err)
	}
	return v, nil
}

func (s *jsonSerde[T]) unmarshal(data []byte, p *T) error {
	if !s.opts.strict {
		return json.Unmarshal(data, p)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return ErrTrailing
	}
	return nil
}

// jsonError says where without the literal that encoding/json quotes.
func jsonError(err error) error {
	e := &DecodeError{Format: "json", Kind: ErrMalformed, Cause: err}
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.Is(err, ErrTrailing):
		e.Kind, e.Cause = ErrTrailing, nil
	case errors.As(err, &syntax):
		if strings.HasSuffix(syntax.Error(), "after top-level value") {
			e.Kind = ErrTrailing
		}
		e.Detail = fmt.Sprintf("syntax, at byte %d", syntax.Offset)
	case errors.As(err, &typ):
		e.Detail = fmt.Sprintf("field %q does not fit Go's %v, at byte %d", typ.Field, typ.Type, typ.Offset)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		e.Detail = "ends too early"
	case strings.HasPrefix(err.Error(), "json: unknown field"):
		e.Detail = "a field that the type does not have"
	default:
		e.Detail = fmt.Sprintf("refused by the type (%T)", err)
	}
	return e
}
