//go:build unix

package meter

import (
	"strings"
	"testing"
	"time"
)

func TestParseReadsWhatReportWrites(t *testing.T) {
	var out strings.Builder
	out.WriteString("an earlier line\n")
	began := time.Now()
	if err := Report(&out, 1000, began, began.Add(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	r, err := Parse(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if r.Records != 1000 || r.Seconds != 2 || r.CPUPerRecord <= 0 || r.Allocs <= 0 || r.PeakMiB <= 0 {
		t.Errorf("got %+v from %q", r, out.String())
	}
}

// Not every worker can count allocations; a newer worker may say more.
func TestParseKnowsWhatMayBeMissing(t *testing.T) {
	r, err := Parse("records=1 seconds=2 records_per_s=0.5 cpu_us_per_record=3 peak_rss_mib=4")
	if err != nil || r != (Result{Records: 1, Seconds: 2, CPUPerRecord: 3, PeakMiB: 4}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestParseRefusesAnythingElse(t *testing.T) {
	for _, output := range []string{
		"",
		"records=1 seconds=2 cpu_us_per_record=3",
		"records=1 seconds=x cpu_us_per_record=3 peak_rss_mib=4",
		"records=1 seconds=2 cpu_us_per_record=3 peak_rss_mib=4\nsomething after it",
	} {
		if r, err := Parse(output); err == nil {
			t.Errorf("%q gives %+v", output, r)
		}
	}
}
