//go:build three && unix

package main

import (
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// Workers come, are killed and are frozen while brokers are killed and frozen, too:
// the copy is exact.
func TestScenarioWithBrokers(t *testing.T) {
	for _, s := range []struct {
		name   string
		static bool
	}{{"dynamic", false}, {"static", true}} {
		t.Run(s.name, func(t *testing.T) {
			three := checktest.OwnBrokers(t)
			b := realBench(t)
			sc := checktest.Scenario{
				Client: b.Client, Brokers: three, Group: b.group, Input: b.in, Records: b.records, Over: 20 * time.Second, Limit: 4 * time.Minute,
				Events: []checktest.Event{
					{At: 0, Do: checktest.Begin, Worker: "A"}, {At: 10, Do: checktest.Begin, Worker: "B"},
					{At: 20, Do: checktest.Crash, Broker: 2}, {At: 35, Do: checktest.Bounce, Worker: "A"},
					{At: 50, Do: checktest.Freeze, Broker: 3, For: 12 * time.Second}, {At: 55, Do: checktest.Begin, Worker: "C"},
					{At: 65, Do: checktest.Bounce, Worker: "B"}, {At: 80, Do: checktest.Crash, Broker: 1}, {At: 90, Do: checktest.Bounce, Worker: "C"},
				},
				Worker: func(name string) *checktest.Process {
					if s.static {
						return b.copier(name, "--instance", name)
					}
					return b.copier(name)
				},
			}
			took := sc.Run(t)
			three.Mend()
			b.verdict("brokers and workers, "+s.name, sc.Describe(), took, (*checktest.Report).Exact)
		})
	}
}
