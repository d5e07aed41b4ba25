package instruments

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// ContentType is that of the text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// WriteText writes what [Collect] reads of runs in Prometheus' text format, version 0.0.4.
// It takes some tens of microseconds for each run and more with thousands of partitions; it
// may be called from any goroutine, at any time of a run and after it.
func WriteText(w io.Writer, runs []*pipeline.Running) error { return writeText(w, Collect(runs)) }

// WriteText writes what Collect reads in the same format.
func (r *Runs) WriteText(w io.Writer) error { return writeText(w, r.Collect()) }

func writeText(w io.Writer, families []Family) error {
	out := &text{bufio.NewWriter(w)}
	for _, f := range families {
		name := f.Prometheus()
		out.line("# HELP ", name, " ", helpEscape.Replace(f.Help))
		out.line("# TYPE ", name, " ", f.Type())
		labels := append([]string{Pipeline}, f.Labels...)
		for i := range f.Points {
			p := &f.Points[i]
			pairs := labelPairs(labels, p.Labels)
			if f.Kind == Histogram {
				out.histogram(name, pairs, f.Instrument, p.Distribution)
			} else {
				out.line(name, "{", pairs, "} ", format(p.Value))
			}
		}
	}
	return out.Flush()
}

// text is the format; its writer keeps the first error for Flush.
type text struct{ *bufio.Writer }

func (t *text) line(parts ...string) {
	for _, s := range parts {
		_, _ = t.WriteString(s)
	}
	_ = t.WriteByte('\n')
}

func (t *text) histogram(name, pairs string, ins *Instrument, d pipeline.Distribution) {
	unit := 1.
	if ins.Seconds() {
		unit = float64(time.Second)
	}
	for _, bound := range ins.Bounds {
		n := d.AtMost(time.Duration(math.Round(bound * unit)))
		t.line(name, "_bucket{", pairs, `,le="`, strconv.FormatFloat(bound, 'g', -1, 64), `"} `, strconv.FormatInt(n, 10))
	}
	count := strconv.FormatInt(d.Count(), 10)
	t.line(name, "_bucket{", pairs, `,le="+Inf"} `, count)
	t.line(name, "_sum{", pairs, "} ", format(float64(d.Sum())/unit))
	t.line(name, "_count{", pairs, "} ", count)
}

var (
	helpEscape  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func labelPairs(names, values []string) string {
	var b strings.Builder
	for i, name := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(name)
		b.WriteString(`="`)
		b.WriteString(labelEscape.Replace(strings.ToValidUTF8(values[i], "\uFFFD")))
		b.WriteByte('"')
	}
	return b.String()
}

func format(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
