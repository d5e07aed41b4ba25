package doctor

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// ErrUnsound is what [Report.Err] wraps: something is wrong that was not accepted.
var ErrUnsound = errors.New("the cluster is not sound")

// Verdict is what a check came to.
type Verdict string

// The verdicts. A Fault loses or refuses records or keeps the program from working; a
// Warning is slower, less safe or perhaps not what was meant. Both are wrong.
const (
	OK         Verdict = "ok"
	NotVisible Verdict = "not visible"
	Warning    Verdict = "warning"
	Fault      Verdict = "fault"
)

// severity orders a table: the worst first.
var severity = []Verdict{Fault, Warning, NotVisible, OK}

// Finding is what one check found out about one subject.
type Finding struct {
	// Check is the check's name, one of [Checks].
	Check string `json:"check"`
	// Subject is what was looked at: a topic, a broker's address, a group, a
	// transactional id. Empty for the cluster.
	Subject string  `json:"subject,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Text is what was found, Change what to do about it: a command or a setting. An
	// OK needs none.
	Text   string `json:"finding"`
	Change string `json:"change,omitempty"`
	// Accepted says that Settings.Accept names it.
	Accepted bool `json:"accepted,omitempty"`
}

// Wrong tells a fault or a warning that was not accepted.
func (f Finding) Wrong() bool {
	return (f.Verdict == Fault || f.Verdict == Warning) && !f.Accepted
}

// Report is what all checks found, in the order in which they ran.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Wrong returns the faults and warnings that were not accepted.
func (r *Report) Wrong() (out []Finding) {
	for _, f := range r.Findings {
		if f.Wrong() {
			out = append(out, f)
		}
	}
	return out
}

// Err is nil if nothing is wrong. What is not visible is not wrong. The error wraps
// [ErrUnsound] and lists what is.
func (r *Report) Err() error {
	wrong := r.Wrong()
	if len(wrong) == 0 {
		return nil
	}
	var b strings.Builder
	for i, f := range wrong {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s: %s", f.title(), f.Text)
	}
	return fmt.Errorf("%w: %s", ErrUnsound, b.String())
}

func (f Finding) title() string {
	if f.Subject == "" {
		return f.Check
	}
	return f.Check + " of " + f.Subject
}

// WriteTable writes what is not fine as an aligned table, the worst first, with what to
// change below each, and then the names of the checks in which all was fine.
func (r *Report) WriteTable(w io.Writer) error {
	rows := slices.Clone(r.Findings)
	slices.SortStableFunc(rows, func(a, b Finding) int {
		return slices.Index(severity, a.Verdict) - slices.Index(severity, b.Verdict)
	})
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var fine, other []string
	for _, f := range rows {
		if f.Verdict == OK {
			if !slices.Contains(fine, f.Check) && !slices.Contains(other, f.Check) {
				fine = append(fine, f.Check)
			}
			continue
		}
		if len(other) == 0 {
			fmt.Fprintln(t, "VERDICT\tCHECK\tSUBJECT\tFINDING")
		}
		other = append(other, f.Check)
		verdict := string(f.Verdict)
		if f.Accepted {
			verdict += " (accepted)"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", verdict, f.Check, f.Subject, f.Text)
		if f.Change != "" {
			fmt.Fprintf(t, "\t\t\t→ %s\n", f.Change)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if len(fine) > 0 {
		if _, err := fmt.Fprintf(w, "ok: %s\n", strings.Join(fine, ", ")); err != nil {
			return err
		}
	}
	return nil
}
