package history

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestResolver reads logs as words: "1a" is record a of producer 1's transaction,
// "1+" its commit, "1-" its abort, and "a" alone a record of no transaction.
func TestResolver(t *testing.T) {
	for log, want := range map[string]string{
		"a b":                "a b",
		"1a 1b 1+":           "a b",
		"1a 1b 1-":           "",
		"1a 2b 2+ c":         "", // all behind an open one
		"1a 2b 2+ c 1+":      "a b c",
		"1a 2b 2+ c 1-":      "b c",
		"1- 1a 1- 1b 1+":     "b", // an abort of nothing, which takes no other's place
		"1a 1- 1- 1b 1-":     "",
		"1a 1- 1- 1b 1+":     "b",
		"1+ 1a":              "",
		"1a 1- 1b 1+ 2c 2-":  "b",
		"1a 1+ 1b 2c 1- 2+ ": "a c",
	} {
		var got []string
		s := new(resolver)
		for _, word := range strings.Fields(log) {
			s.add(record(word), func(r *kgo.Record) { got = append(got, string(r.Value)) })
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %q", log, got, want)
		}
	}
}

func record(word string) *kgo.Record {
	marker := kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true, Control: true})
	r := &kgo.Record{ProducerID: int64(word[0] - '0')}
	switch {
	case len(word) == 1:
		r.Value = []byte(word)
	case word[1] == '+':
		r.Attrs, r.Key = marker, []byte{0, 0, 0, 1}
	case word[1] == '-':
		r.Attrs, r.Key = marker, []byte{0, 0, 0, 0}
	default:
		r.Attrs, r.Value = kgo.NewRecordAttrs(kgo.RecordAttrsOpts{Transactional: true}), []byte(word[1:])
	}
	return r
}
