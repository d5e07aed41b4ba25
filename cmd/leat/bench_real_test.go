//go:build (real || three) && unix

package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/internal/checktest"
)

// defaultRecords is small enough for CI; LEAT_TEST_RECORDS sets another number.
const defaultRecords = 200_000

// leat is the command, built once by TestMain.
var leat string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "leat")
	if err == nil {
		leat, err = checktest.Build(dir, "github.com/leat-stream/leat/cmd/leat")
	}
	code := 1
	if err == nil {
		code = m.Run()
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// bench is the real broker and what a test has on it.
type bench struct {
	*checktest.Client
	t       *testing.T
	brokers string
	records uint64
	in, out string
	group   string
}

func realBench(t *testing.T) *bench {
	t.Helper()
	brokers := os.Getenv("LEAT_TEST_BROKERS")
	if brokers == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real sets it")
	}
	records := uint64(defaultRecords)
	if s := os.Getenv("LEAT_TEST_RECORDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("LEAT_TEST_RECORDS: %v", err)
		}
		records = n
	}
	id := strconv.FormatInt(time.Now().UnixNano(), 36)
	b := &bench{
		Client: checktest.Dial(t, strings.Split(brokers, ",")), t: t, brokers: brokers, records: records,
		in: "test-in-" + id, out: "test-out-" + id, group: "test-" + id,
	}
	b.CreateTopic(b.in, 4, nil)
	b.CreateTopic(b.out, 4, nil)
	return b
}

// copier starts leat copy from the input to the output.
func (b *bench) copier(name string, more ...string) *checktest.Process {
	b.t.Helper()
	return checktest.Start(b.t, name, leat, append([]string{
		"copy", "--brokers", b.brokers, "--from", b.in, "--to", b.out, "--group", b.group, "--session-timeout", "6s",
		"--header", "copied=yes",
	}, more...)...)
}

var copied = kgo.RecordHeader{Key: "copied", Value: []byte("yes")}

// spread is the time over which a small input is written, so that there is
// something left to disturb; a large one is there at the beginning.
func (b *bench) spread() time.Duration {
	if b.records > 1_000_000 {
		return 0
	}
	return 8 * time.Second
}

// verdict checks the output and adds a row to the table that LEAT_TEST_REPORT
// names, if any.
func (b *bench) verdict(scenario, events string, took time.Duration, check func(*checktest.Report) error) {
	b.t.Helper()
	began := time.Now()
	rep := b.Compare(b.in, b.out, b.records, copied)
	for rep.Hanging > 0 && time.Since(began) < time.Minute {
		// A killed worker's transaction hides what stands behind it until it
		// times out.
		rep = b.Compare(b.in, b.out, b.records, copied)
	}
	detail := rep.String()
	if waited := time.Since(began); waited > 20*time.Second {
		detail += fmt.Sprintf(", visible only after %.0f s", waited.Seconds())
	}
	verdict := "EXACT"
	if err := check(rep); err != nil {
		verdict = "WRONG"
		b.t.Errorf("%s: %v", scenario, err)
	} else if rep.Duplicates > 0 {
		verdict = "COMPLETE"
	}
	b.row(scenario, events, took, verdict, detail)
}

func (b *bench) row(scenario, events string, took time.Duration, verdict, detail string) {
	b.t.Helper()
	row := fmt.Sprintf("| %s | %s | %.1f s | %s | %s |", scenario, events, took.Seconds(), verdict, detail)
	b.t.Log(row)
	name := os.Getenv("LEAT_TEST_REPORT")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err == nil {
		_, err = fmt.Fprintln(f, row)
		err = joinClose(f, err)
	}
	if err != nil {
		b.t.Errorf("LEAT_TEST_REPORT: %v", err)
	}
}

func joinClose(f *os.File, err error) error {
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// maxMiB is what leat copy may take at its default settings.
const maxMiB = 256
