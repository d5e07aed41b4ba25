package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// letterGroup is what is told of the letters that have failed in the same way.
type letterGroup struct {
	letterKind
	Count int64   `json:"count"`
	First *string `json:"first"` // when the records were made
	Last  *string `json:"last"`

	first, last time.Time
}

// letterKind is by what letters are grouped.
type letterKind struct {
	Pipeline string `json:"pipeline"`
	Stage    string `json:"stage"`
	Topic    string `json:"topic"`        // where they come from
	To       string `json:"to,omitempty"` // where redrive sends them
	Error    string `json:"error"`        // clipped, with # for what differs from record to record
}

const (
	maxGroups    = 1000 // of more errors than that, the rest is one group
	maxErrorText = 200  // bytes of an error in a group
	otherErrors  = "(more errors)"
)

// letterGroups counts letters by kind.
type letterGroups struct{ by map[letterKind]*letterGroup }

func (g *letterGroups) add(l *letter, to string) {
	kind := letterKind{Pipeline: l.pipeline, Stage: l.stage, Topic: l.origin.Topic, To: to, Error: errorKind(l.reason)}
	if g.by == nil {
		g.by = map[letterKind]*letterGroup{}
	}
	if g.by[kind] == nil && len(g.by) >= maxGroups {
		kind = letterKind{Error: otherErrors}
	}
	x := g.by[kind]
	if x == nil {
		x = &letterGroup{letterKind: kind, first: l.made, last: l.made}
		g.by[kind] = x
	}
	x.Count++
	if l.made.Before(x.first) {
		x.first = l.made
	}
	if l.made.After(x.last) {
		x.last = l.made
	}
}

// sorted are the groups, the largest first.
func (g *letterGroups) sorted() []*letterGroup {
	out := []*letterGroup{}
	for _, x := range g.by {
		x.First, x.Last = timeText(x.first), timeText(x.last)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b *letterGroup) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Pipeline, b.Pipeline), cmp.Compare(a.Stage, b.Stage),
			cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.To, b.To), cmp.Compare(a.Error, b.Error))
	})
	return out
}

func (g *letterGroups) count() (n int64) {
	for _, x := range g.by {
		n += x.Count
	}
	return n
}

// print writes a table.
func (g *letterGroups) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "COUNT\tPIPELINE\tSTAGE\tTOPIC\tFIRST\tLAST\tERROR")
	for _, x := range g.sorted() {
		topic := inLine(x.Topic)
		if x.To != "" && x.To != x.Topic {
			topic += " to " + inLine(x.To)
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", x.Count, inLine(x.Pipeline), inLine(x.Stage), topic, second(x.First), second(x.Last), inLine(x.Error))
	}
	return w.Flush()
}

// second shows a time without its fraction.
func second(t *string) string {
	if t == nil {
		return "-"
	}
	whole, _, _ := strings.Cut(*t, ".")
	return whole + "Z"
}

// errorKind is an error's text without what differs from record to record.
func errorKind(reason string) string {
	text := idLike.ReplaceAllStringFunc(clipText(reason, maxErrorHeaderText), func(s string) string {
		if strings.ContainsAny(s, "0123456789") {
			return "#"
		}
		return s
	})
	return clipText(numbers.ReplaceAllString(text, "#"), maxErrorText)
}

// maxErrorHeaderText is more than what pipelines write of an error.
const maxErrorHeaderText = 4096

var (
	idLike  = regexp.MustCompile(`\b[0-9a-fA-F][0-9a-fA-F-]{7,}\b`) // UUIDs, hashes, and some words
	numbers = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)
)

// inLine is text that neither breaks a table nor speaks to a terminal.
func inLine(s string) string {
	return cmp.Or(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s), "-")
}

// clipText cuts at a character's edge.
func clipText(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
