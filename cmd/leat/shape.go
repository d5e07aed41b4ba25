package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// shape is what values at one place have been seen to be.
type shape struct {
	seen, null, bools, integers, fractions, strings, objects int

	huge   bool              // an integer that is no long
	items  *shape            // of arrays; nil if there are none
	names  []string          // of fields, in the order of their first appearance
	fields map[string]*shape // of objects
}

func (s *shape) isObject() bool { return s.objects == s.seen }

// shapeOf reads documents, one after the other.
func shapeOf(text []byte) (*shape, error) {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	all := &shape{}
	for {
		token, err := in.Token()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = all.add(in, token, 0)
		}
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", in.InputOffset(), err)
		}
	}
	if all.seen == 0 {
		return nil, fmt.Errorf("it holds no example")
	}
	return all, nil
}

// maxDepth bounds how deep examples may nest.
const maxDepth = 100

func (s *shape) add(in *json.Decoder, token json.Token, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	s.seen++
	switch v := token.(type) {
	case nil:
		s.null++
	case bool:
		s.bools++
	case string:
		s.strings++
	case json.Number:
		_, err := v.Int64()
		switch {
		case err == nil:
			s.integers++
		default:
			s.fractions++
			s.huge = s.huge || !strings.ContainsAny(v.String(), ".eE")
		}
	case json.Delim:
		if v == '{' {
			s.objects++
			return s.object(in, depth)
		}
		if s.items == nil {
			s.items = &shape{}
		}
		return eachToken(in, func(token json.Token) error { return s.items.add(in, token, depth+1) })
	}
	return nil
}

func (s *shape) object(in *json.Decoder, depth int) error {
	if s.fields == nil {
		s.fields = map[string]*shape{}
	}
	here := map[string]bool{}
	return eachToken(in, func(token json.Token) error {
		name, ok := token.(string)
		switch {
		case !ok:
			return fmt.Errorf("a name is no string")
		case here[name]:
			return fmt.Errorf("%q stands twice in an object", name)
		}
		here[name] = true
		field := s.fields[name]
		if field == nil {
			field = &shape{}
			s.fields[name] = field
			s.names = append(s.names, name)
		}
		token, err := in.Token()
		if err != nil {
			return err
		}
		return field.add(in, token, depth+1)
	})
}

// eachToken calls f until an object or array ends.
func eachToken(in *json.Decoder, f func(json.Token) error) error {
	for in.More() {
		token, err := in.Token()
		if err != nil {
			return err
		}
		if err := f(token); err != nil {
			return err
		}
	}
	_, err := in.Token()
	return err
}
