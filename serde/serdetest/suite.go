// Package serdetest is the conformance suite for serdes: what every pipeline.Serde
// must do, whoever wrote it. Leat's own pass it.
//
//	func TestMoney(t *testing.T) {
//		serdetest.Suite[Money]{
//			Serde:  money.Serde(),
//			Values: []Money{{}, {Cents: 1}},
//			Reject: [][]byte{[]byte("not money")},
//		}.Run(t)
//	}
package serdetest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
)

// Suite says what is tested. Serde and Values are required.
type Suite[T any] struct {
	Serde pipeline.Serde[T]
	// Values are encoded and decoded again.
	Values []T
	// Equal compares; default reflect.DeepEqual.
	Equal func(a, b T) bool
	// Reject are bytes that must be the record's error.
	Reject [][]byte
	// Whole says that an encoding cut off anywhere, or with a byte after it,
	// must be the record's error.
	Whole bool
	// Secret, if set, must not occur in any error's text. Let it occur in Values
	// and Reject.
	Secret string
	// At is where the serde stands. Default: the value of topic "serdetest".
	At pipeline.Slot
}

// Run runs the suite as subtests of t.
func (s Suite[T]) Run(t *testing.T) {
	t.Helper()
	if s.Serde == nil || len(s.Values) == 0 {
		t.Fatal("serdetest: Serde and Values are required")
	}
	if s.Equal == nil {
		s.Equal = func(a, b T) bool { return reflect.DeepEqual(a, b) }
	}
	if s.At.Topic == "" {
		s.At.Topic = "serdetest"
	}
	t.Run("Validate", s.validate)
	t.Run("Prepare", s.prepare)
	t.Run("RoundTrip", s.roundTrip)
	t.Run("AppendKeepsWhatIsThere", s.appendKeeps)
	t.Run("DecodeLeavesData", s.decodeLeaves)
	t.Run("ValuesAreIndependent", s.independent)
	t.Run("Null", s.null)
	t.Run("View", s.view)
	t.Run("Reject", s.reject)
	t.Run("Whole", s.whole)
	t.Run("Concurrent", s.concurrent)
}

func (s Suite[T]) validate(t *testing.T) {
	if v, ok := s.Serde.(serde.Validator); ok {
		if err := v.Validate(); err != nil {
			t.Fatalf("Validate: %v", err)
		}
	}
}

func (s Suite[T]) prepare(t *testing.T) {
	p, ok := s.Serde.(pipeline.Preparer)
	if !ok {
		return
	}
	for _, encode := range []bool{true, false} {
		if err := p.Prepare(t.Context(), s.At, encode); err != nil {
			t.Errorf("Prepare(encode=%v): %v", encode, err)
		}
	}
}

// encode returns the encoding of v, or nil for null.
func (s Suite[T]) encode(t *testing.T, v T) []byte {
	t.Helper()
	b, err := s.Serde.Append(t.Context(), []byte{}, s.At, v)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	return b
}

func (s Suite[T]) roundTrip(t *testing.T) {
	for i, v := range s.Values {
		data := s.encode(t, v)
		if data == nil && !s.nullable() {
			t.Errorf("value %d: encoded as null, but the serde does not decode null", i)
			continue
		}
		got, err := s.Serde.Decode(t.Context(), s.At, data)
		if err != nil {
			t.Errorf("value %d: Decode: %v", i, err)
			continue
		}
		if !s.Equal(got, v) {
			t.Errorf("value %d: got %v, want %v", i, got, v)
		}
		if again := s.encode(t, got); !bytes.Equal(again, data) {
			t.Errorf("value %d: encoded again: %x, want %x", i, again, data)
		}
	}
}

func (s Suite[T]) appendKeeps(t *testing.T) {
	for i, v := range s.Values {
		want := s.encode(t, v)
		if want == nil {
			continue
		}
		for _, room := range []int{0, 1, 1 << 12} {
			dst := append(make([]byte, 0, 6+room), "before"...)
			got, err := s.Serde.Append(t.Context(), dst, s.At, v)
			if err != nil {
				t.Fatalf("value %d: Append: %v", i, err)
			}
			if !bytes.Equal(got, append([]byte("before"), want...)) {
				t.Errorf("value %d, %d bytes of room: got %x, want %x after the 6 bytes", i, room, got, want)
			}
		}
	}
}

func (s Suite[T]) decodeLeaves(t *testing.T) {
	for i, v := range s.Values {
		data := s.encode(t, v)
		if data == nil {
			continue
		}
		before := bytes.Clone(data)
		if _, err := s.Serde.Decode(t.Context(), s.At, data); err != nil {
			t.Fatalf("value %d: Decode: %v", i, err)
		}
		if !bytes.Equal(data, before) {
			t.Errorf("value %d: Decode changed its input", i)
		}
	}
}

// independent finds serdes that reuse what they returned.
func (s Suite[T]) independent(t *testing.T) {
	var got []T
	for range 3 {
		for _, v := range s.Values {
			x, err := s.Serde.Decode(t.Context(), s.At, s.encode(t, v))
			if err != nil {
				t.Fatalf("Decode: %v", err)
			}
			got = append(got, x)
		}
	}
	for i, x := range got {
		if want := s.Values[i%len(s.Values)]; !s.Equal(x, want) {
			t.Errorf("a value changed after later calls: got %v, want %v", x, want)
		}
	}
}

func (s Suite[T]) nullable() bool {
	_, ok := s.Serde.(pipeline.Nullable)
	return ok
}

func (s Suite[T]) null(t *testing.T) {
	v, err := s.Serde.Decode(t.Context(), s.At, nil)
	if !s.nullable() {
		// Leat never asks; a caller that does must not get a made-up value.
		s.recordError(t, "null", err)
		return
	}
	if err != nil {
		t.Fatalf("Decode of null: %v", err)
	}
	if data := s.encode(t, v); data != nil {
		t.Errorf("null decoded and encoded again is %x, want null", data)
	}
}

func (s Suite[T]) view(t *testing.T) {
	viewer, ok := s.Serde.(pipeline.Viewer[T])
	if !ok {
		return
	}
	for i, v := range s.Values {
		got, want := viewer.View(v), s.encode(t, v)
		if !bytes.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("value %d: View %x, Append %x", i, got, want)
		}
	}
}

func (s Suite[T]) reject(t *testing.T) {
	for _, data := range s.Reject {
		_, err := s.Serde.Decode(t.Context(), s.At, data)
		s.recordError(t, string(data), err)
	}
}

func (s Suite[T]) whole(t *testing.T) {
	if !s.Whole {
		return
	}
	for i, v := range s.Values {
		data := s.encode(t, v)
		for n := range data {
			if _, err := s.Serde.Decode(t.Context(), s.At, data[:n:n]); err == nil {
				t.Errorf("value %d: the first %d of %d bytes were accepted", i, n, len(data))
			} else {
				s.recordError(t, "cut off", err)
			}
		}
		_, err := s.Serde.Decode(t.Context(), s.At, append(bytes.Clone(data), 0))
		s.recordError(t, "one byte too many", err)
	}
}

// recordError fails unless err is one that a record's policy decides about.
func (s Suite[T]) recordError(t *testing.T, what string, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Errorf("%.40q: accepted", what)
	case pipeline.IsRetriable(err):
		t.Errorf("%.40q: Retriable, the partition would wait for ever: %v", what, err)
	case pipeline.IsFatal(err):
		t.Errorf("%.40q: Fatal, one record would stop the pipeline: %v", what, err)
	case s.Secret != "" && strings.Contains(err.Error(), s.Secret):
		t.Errorf("the error quotes the record: %v", err)
	}
}

func (s Suite[T]) concurrent(t *testing.T) {
	want := make([][]byte, len(s.Values))
	for i, v := range s.Values {
		want[i] = s.encode(t, v)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				for i, v := range s.Values {
					if err := s.once(t.Context(), v, want[i]); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

func (s Suite[T]) once(ctx context.Context, v T, want []byte) error {
	data, err := s.Serde.Append(ctx, []byte{}, s.At, v)
	if err != nil {
		return err
	}
	if !bytes.Equal(data, want) {
		return errors.New("concurrent Append: another encoding")
	}
	got, err := s.Serde.Decode(ctx, s.At, data)
	if err != nil {
		return err
	}
	if !s.Equal(got, v) {
		return errors.New("concurrent Decode: another value")
	}
	return nil
}
