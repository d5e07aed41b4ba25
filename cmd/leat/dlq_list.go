package main

import (
	"context"
	"flag"
	"fmt"
	"io"
)

const dlqListNote = `Groups the letters that are open, that is, that were not redriven, by pipeline, stage,
topic and error. The times are when the records were made. It changes nothing.`

// letterList is what is listed, as JSON.
type letterList struct {
	Topic string `json:"topic"`
	letterCounts
	Matching int64          `json:"matching"` // of those that are open
	Groups   []*letterGroup `json:"groups"`
}

func runDLQList(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o dlqOptions
	fs := flag.NewFlagSet("leat dlq list", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "write JSON")
	if err := o.parse(fs, dlqListNote, args, stderr); err != nil {
		return err
	}
	d, err := openDeadLetters(ctx, &o)
	if err != nil {
		return err
	}
	defer d.close()
	ends, err := d.ends(ctx)
	if err != nil {
		return err
	}
	var groups letterGroups
	err = d.each(ctx, ends, func(l *letter) error {
		groups.add(l, "")
		return nil
	})
	if err != nil {
		return err
	}
	if *asJSON {
		return writeJSON(stdout, letterList{o.topic, d.seen, groups.count(), groups.sorted()})
	}
	fmt.Fprintf(stdout, "%s: %d open, %d of them match; %d redriven, %d foreign\n", o.topic, d.seen.Open, groups.count(), d.seen.Redriven, d.seen.Foreign)
	if groups.count() == 0 {
		return nil
	}
	return groups.print(stdout)
}
