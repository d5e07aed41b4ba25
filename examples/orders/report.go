package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// reportSpeed writes what this process did.
func reportSpeed(w io.Writer, s pipeline.Snapshot, began time.Time, delivery pipeline.Guarantee) {
	seconds := max(s.LastCommit.Sub(began).Seconds(), 0)
	perSecond := 0.0
	if seconds > 0 {
		perSecond = float64(s.Committed) / seconds
	}
	fmt.Fprintf(w, "\n%s orders in %.2f s, %s: %s records/s, %s commits, %s aborts\n",
		thousands(s.Committed), seconds, delivery, thousands(int64(perSecond)), thousands(s.Commits), thousands(s.Aborts))
	for stage, n := range inOrder(s.DeadLettersByStage) {
		fmt.Fprintf(w, "%s dead letters from stage %s\n", thousands(n), stage)
	}
}

// reportOutputs writes what is in the output topics. read is the number of orders
// they were made from, or -1 if the topics hold more than this run's.
func reportOutputs(w io.Writer, t *tally, read int64) error {
	columns := slices.Sorted(maps.Keys(regions))
	slices.SortFunc(columns, func(a, b string) int { return cmp.Compare(regions[a], regions[b]) })
	columns = append(columns, otherRegion)

	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(head string, cells ...string) {
		fmt.Fprintf(table, "%s\t", head)
		for _, c := range cells {
			fmt.Fprintf(table, "%s\t", c)
		}
		fmt.Fprintln(table)
	}
	row("topic", append(slices.Clone(columns), "all")...)
	written := int64(0)
	for _, topic := range outputTopics {
		cells := make([]string, 0, len(columns)+1)
		sum := int64(0)
		for _, region := range columns {
			n := t.regions[topic][region]
			sum += n
			cells = append(cells, thousands(n))
		}
		written += sum
		row(topic, append(cells, thousands(sum))...)
	}
	if read >= 0 {
		blank := make([]string, len(columns))
		row("not PAID, dropped", append(blank, thousands(read-written))...)
		row("orders", append(blank, thousands(read))...)
	}
	if err := table.Flush(); err != nil {
		return err
	}

	fmt.Fprint(w, "\ndead letters by stage and reason:\n")
	for cause, n := range inOrder(t.causes) {
		fmt.Fprintf(w, "%9s  %-10s %s\n", thousands(n), cause.stage, cause.reason)
	}
	if len(t.causes) == 0 {
		fmt.Fprintf(w, "%9d\n", 0)
	}
	return nil
}

// inOrder yields counts with the largest first; equal ones by their names.
func inOrder[K comparable](counts map[K]int64) func(yield func(K, int64) bool) {
	keys := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(fmt.Sprint(a), fmt.Sprint(b)))
	})
	return func(yield func(K, int64) bool) {
		for _, k := range keys {
			if !yield(k, counts[k]) {
				return
			}
		}
	}
}
