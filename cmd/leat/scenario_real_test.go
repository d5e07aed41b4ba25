//go:build real && unix

package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// scenarios are run by [TestScenario]. Percents are of the input that is committed.
var scenarios = []struct {
	name   string
	flags  []string
	static bool // every worker is named
	events []checktest.Event
	check  func(*checktest.Report) error
}{
	{
		name: "three workers join and leave",
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 10, Do: checktest.Begin, Worker: "B"},
			{At: 25, Do: checktest.Begin, Worker: "C"}, {At: 50, Do: checktest.Term, Worker: "B"},
			{At: 70, Do: checktest.Begin, Worker: "B"}, {At: 80, Do: checktest.Term, Worker: "A"},
		},
	},
	{
		name: "three killings, static", static: true,
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 0, Do: checktest.Begin, Worker: "B"},
			{At: 15, Do: checktest.Bounce, Worker: "A"}, {At: 40, Do: checktest.Bounce, Worker: "A"}, {At: 65, Do: checktest.Bounce, Worker: "A"},
		},
	},
	{
		name: "three killings of the only worker, static, commits once a second", static: true, flags: []string{"--commit-interval", "1s"},
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"},
			{At: 15, Do: checktest.Bounce, Worker: "A"}, {At: 40, Do: checktest.Bounce, Worker: "A"}, {At: 65, Do: checktest.Bounce, Worker: "A"},
		},
	},
	{
		name: "three killings, dynamic",
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 0, Do: checktest.Begin, Worker: "B"},
			{At: 15, Do: checktest.Bounce, Worker: "A"}, {At: 40, Do: checktest.Bounce, Worker: "A"}, {At: 65, Do: checktest.Bounce, Worker: "A"},
		},
	},
	{
		name: "stopped for longer than its session, then woken", flags: []string{"--commit-interval", "1s"},
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 10, Do: checktest.Begin, Worker: "B"},
			{At: 40, Do: checktest.Pause, Worker: "A", For: 10 * time.Second},
		},
	},
	{
		name: "static member stopped for longer than session and transaction, then woken", static: true,
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 10, Do: checktest.Begin, Worker: "B"},
			{At: 40, Do: checktest.Pause, Worker: "A", For: 18 * time.Second},
		},
	},
	{
		name: "at least once, killed twice", flags: []string{"--delivery", "at-least-once"}, static: true,
		events: []checktest.Event{
			{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 0, Do: checktest.Begin, Worker: "B"},
			{At: 20, Do: checktest.Bounce, Worker: "A"}, {At: 60, Do: checktest.Bounce, Worker: "A"},
		},
		check: (*checktest.Report).Complete,
	},
}

func TestScenario(t *testing.T) {
	for _, s := range scenarios {
		t.Run(strings.ReplaceAll(s.name, " ", "-"), func(t *testing.T) {
			b := realBench(t)
			check := s.check
			if check == nil {
				check = (*checktest.Report).Exact
			}
			sc := checktest.Scenario{
				Client: b.Client, Group: b.group, Input: b.in, Records: b.records, Over: b.spread(), Limit: 3 * time.Minute,
				Events: s.events,
				Worker: func(name string) *checktest.Process {
					flags := s.flags
					if s.static {
						flags = append([]string{"--instance", name}, flags...)
					}
					return b.copier(name, flags...)
				},
			}
			took := sc.Run(t)
			b.verdict(s.name, sc.Describe(), took, check)
		})
	}
}

// A copy has control records, also at its very end: a copy of it must reach that.
func TestCopyOfACopy(t *testing.T) {
	b := realBench(t)
	b.Prefill(b.in, b.records)
	began := time.Now()
	first := b.copier("first", "--until-end")
	if code := first.Wait(2 * time.Minute); code != 0 {
		t.Fatalf("the first copy ended with exit code %d", code)
	}
	took := time.Since(began)
	b.checkResult(first)
	b.verdict("copy --until-end", "", took, (*checktest.Report).Exact)

	again := *b
	again.in, again.out, again.group = b.out, b.out+"-again", b.group+"-again"
	again.CreateTopic(again.out, 4, nil)
	began = time.Now()
	second := again.copier("second", "--until-end")
	if code := second.Wait(2 * time.Minute); code != 0 {
		t.Fatalf("the copy of the copy ended with exit code %d", code)
	}
	took = time.Since(began)
	again.checkResult(second)
	if left := second.Stderr(); strings.Contains(left, "level=ERROR") {
		t.Errorf("the copy of the copy logged an error: %s", left)
	}
	rep := again.Compare(b.in, again.out, b.records, copied, copied)
	verdict := "EXACT"
	if err := rep.Exact(); err != nil {
		verdict = "WRONG"
		t.Errorf("copy of the copy: %v", err)
	}
	b.row("copy of the copy --until-end", "", took, verdict, rep.String())
}

func (b *bench) checkResult(p *checktest.Process) checktest.Result {
	b.t.Helper()
	r, err := checktest.ParseResult(p.Stdout())
	if err != nil {
		b.t.Fatal(err)
	}
	if uint64(r.Records) != b.records {
		b.t.Errorf("the copy says that it committed %d of %d records", r.Records, b.records)
	}
	return r
}

func TestMemoryOfACopy(t *testing.T) {
	b := realBench(t)
	b.Prefill(b.in, b.records)
	p := checktest.Start(t, "copy", leat, "copy", "--brokers", b.brokers, "--from", b.in, "--to", b.out, "--group", b.group, "--until-end")
	if code := p.Wait(2 * time.Minute); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	r := b.checkResult(p)
	if r.MiB <= 0 || r.MiB >= maxMiB {
		t.Errorf("leat copy took %.1f MiB, want less than %d", r.MiB, maxMiB)
	}
	rep := b.Compare(b.in, b.out, b.records)
	verdict := "EXACT"
	if err := rep.Exact(); err != nil {
		verdict = "WRONG"
		t.Error(err)
	}
	b.row("copy at default settings", "", time.Duration(r.Seconds*float64(time.Second)), verdict,
		fmt.Sprintf("%s, %.0f k records/s, %.2f µs CPU/record, %.1f MiB", rep, float64(r.Records)/r.Seconds/1000, r.MicrosPerRecord, r.MiB))
}

// SIGTERM in the middle: what was finished is committed, and the next worker goes
// on from there at once.
func TestTerminatedCopyGoesOn(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			b := realBench(t)
			b.Prefill(b.in, b.records)
			p := b.copier("first", "--commit-interval", "20ms")
			b.Await("some progress", func() bool { return len(b.Committed(b.group, b.in)) > 0 })
			began := time.Now()
			p.Signal(sig)
			if code := p.Wait(2 * checktest.StopWithin); code != 0 {
				t.Errorf("exit code %d", code)
			}
			stopped := time.Since(began)
			if stopped > checktest.StopWithin {
				t.Errorf("it took %v to stop", stopped)
			}
			r, err := checktest.ParseResult(p.Stdout())
			if err != nil {
				t.Fatal(err)
			}
			committed := int64(0)
			for _, at := range b.Committed(b.group, b.in) {
				committed += at
			}
			if committed != r.Records {
				t.Errorf("it says that it committed %d records, the group's positions say %d", r.Records, committed)
			}
			if n := b.Members(b.group); n != 0 {
				t.Errorf("the group has %d members after a dynamic one has left", n)
			}
			began = time.Now()
			second := b.copier("second", "--until-end")
			if code := second.Wait(2 * time.Minute); code != 0 {
				t.Fatalf("the second worker ended with exit code %d", code)
			}
			b.verdict(sig.String()+", then another worker", fmt.Sprintf("stopped in %v at %d", stopped.Round(time.Millisecond), r.Records),
				time.Since(began), (*checktest.Report).Exact)
		})
	}
}
