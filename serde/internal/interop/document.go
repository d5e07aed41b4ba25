package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

//go:embed testdata
var testdata embed.FS

func schema(file string) string {
	text, err := testdata.ReadFile("testdata/" + file)
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(text)
}

// document is a key and a value in JSON: nil is null; bytes are base64, dates and times text,
// decimals their digits.
type document struct {
	Key, Value any
}

// documents are by what reads them: a topic, or a topic, a slash, and the reader.
type documents map[string][]document

func expected() (documents, error) {
	var want documents
	return want, parse([]byte(schema("expected.json")), &want)
}

// parse keeps numbers as they are written.
func parse(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return d.Decode(into)
}

// plainly is a value as JSON has it.
func plainly(v any) (out any, err error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return out, parse(data, &out)
}

// differences names each field that is not as it should be.
func differences(got, want document) []string {
	return append(differ(nil, "key", got.Key, want.Key), differ(nil, "value", got.Value, want.Value)...)
}

func differ(all []string, at string, got, want any) []string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok {
			break
		}
		names := maps.Clone(want)
		maps.Copy(names, got)
		for _, name := range slices.Sorted(maps.Keys(names)) {
			g, isThere := got[name]
			w, shouldBe := want[name]
			switch {
			case !isThere:
				all = append(all, fmt.Sprintf("%s.%s is missing, want %s", at, name, show(w)))
			case !shouldBe:
				all = append(all, fmt.Sprintf("%s.%s is %s, want none", at, name, show(g)))
			default:
				all = differ(all, at+"."+name, g, w)
			}
		}
		return all
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			break
		}
		for i := range want {
			all = differ(all, fmt.Sprintf("%s[%d]", at, i), got[i], want[i])
		}
		return all
	}
	if !same(got, want) {
		all = append(all, fmt.Sprintf("%s is %s, want %s", at, show(got), show(want)))
	}
	return all
}

// same compares numbers by value, to the last digit.
func same(got, want any) bool {
	g, ok := got.(json.Number)
	w, both := want.(json.Number)
	if !ok || !both {
		return show(got) == show(want)
	}
	x, okX := new(big.Rat).SetString(g.String())
	y, okY := new(big.Rat).SetString(w.String())
	return okX && okY && x.Cmp(y) == 0
}

func show(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(b.String())
}
