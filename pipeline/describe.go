package pipeline

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Describe returns the topology as text, one node a line in the order in which
// they were built, with their consumers indented below. It works on a pipeline
// that is not valid, too.
func (p *Pipeline) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipeline %s (on error: %v", p.name, p.policy)
	if p.deadLetter != "" {
		fmt.Fprintf(&b, ", dead letters to %s", p.deadLetter)
	}
	b.WriteString(")\n")
	for _, n := range p.nodes {
		switch n.kind {
		case kindTable:
			fmt.Fprintf(&b, "table %s\n", n.name)
		case kindInput:
			seen := map[*node]bool{}
			n.describe(&b, "", seen)
		}
	}
	return b.String()
}

func (n *node) describe(w io.Writer, indent string, seen map[*node]bool) {
	fmt.Fprintf(w, "%s%s %s", indent, n.label, n.name)
	if n.kind == kindOutput && !slices.Equal(n.topics, []string{n.name}) {
		fmt.Fprintf(w, " (%s)", strings.Join(n.topics, ", "))
	}
	if len(n.cfg.reads) > 0 {
		fmt.Fprintf(w, " (reads %s)", strings.Join(n.cfg.reads, ", "))
	}
	if len(n.cfg.retries) > 0 {
		fmt.Fprint(w, " (retries")
		if n.cfg.order != nil {
			fmt.Fprint(w, " in order")
		}
		for i, r := range n.cfg.retries {
			fmt.Fprintf(w, "%s %s after %s", [...]string{"", ","}[min(i, 1)], r.topic, delayName(r.delay))
		}
		if o := n.cfg.order; o != nil {
			for _, d := range o.delays[1:] {
				fmt.Fprintf(w, ", %s", delayName(d))
			}
		}
		fmt.Fprint(w, ")")
	}
	if n.cfg.hasPolicy {
		fmt.Fprintf(w, " (on error: %v)", n.cfg.policy)
	}
	if seen[n] {
		fmt.Fprint(w, " (see above)\n")
		return
	}
	fmt.Fprintln(w)
	seen[n] = true
	for i, o := range n.ports {
		for _, c := range o.consumers {
			next := indent + "  "
			if len(n.ports) > 1 {
				fmt.Fprintf(w, "%sbranch %d:\n", next, i+1)
				next += "  "
			}
			c.describe(w, next, seen)
		}
	}
}

// Mermaid returns the topology as a Mermaid flowchart, which Git hosts draw from
// a code block marked mermaid.
func (p *Pipeline) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart TD\n")
	for _, n := range p.nodes {
		open, shut := "[", "]"
		switch n.kind {
		case kindInput, kindOutput:
			open, shut = "[(", ")]"
		case kindTable:
			open, shut = "[[", "]]"
		}
		fmt.Fprintf(&b, "  n%d%s\"%s<br/>%s\"%s\n", n.id, open, mermaidText(n.name), n.label, shut)
		for i, r := range n.cfg.retries {
			fmt.Fprintf(&b, "  n%dr%d[(\"%s<br/>retry after %s\")]\n", n.id, i+1, mermaidText(r.topic), delayName(r.delay))
		}
	}
	for _, n := range p.nodes {
		for i, o := range n.ports {
			for _, c := range o.consumers {
				arrow := "-->"
				if len(n.ports) > 1 {
					arrow = fmt.Sprintf("-->|%d|", i+1)
				}
				fmt.Fprintf(&b, "  n%d %s n%d\n", n.id, arrow, c.id)
			}
		}
	}
	for _, n := range p.nodes {
		for i := range n.cfg.retries {
			fmt.Fprintf(&b, "  n%dr%d -.-> n%d\n", n.id, i+1, n.id)
		}
		for _, t := range p.nodes {
			if t.kind == kindTable && slices.Contains(n.cfg.reads, t.topics[0]) {
				fmt.Fprintf(&b, "  n%d -.-> n%d\n", t.id, n.id)
			}
		}
	}
	if p.deadLetter != "" {
		fmt.Fprintf(&b, "  dlq[(\"%s<br/>dead letters\")]\n", mermaidText(p.deadLetter))
	}
	return b.String()
}

var mermaidEscape = strings.NewReplacer(`"`, "#quot;", "<", "#lt;", ">", "#gt;", "\n", " ")

func mermaidText(s string) string { return mermaidEscape.Replace(s) }
