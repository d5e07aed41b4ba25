package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"github.com/IBM/sarama"
)

const dlqShowNote = `Prints the letters that are open as JSON, one in a line: as leat cat does, with where each
comes from and why it failed under "letter". It shows keys, values and headers. It
changes nothing.`

// shownLetter is a line of leat dlq show.
type shownLetter struct {
	Letter letterOrigin `json:"letter"`
	*catLine
}

// letterOrigin is where a letter comes from, and why.
type letterOrigin struct {
	Pipeline  string  `json:"pipeline"`
	Stage     string  `json:"stage"`
	Error     string  `json:"error"`
	Topic     string  `json:"topic"`
	Partition int32   `json:"partition"`
	Offset    int64   `json:"offset"`
	Timestamp *string `json:"timestamp"`
	Redriven  int     `json:"redriven"`
}

func runDLQShow(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o dlqOptions
	fs := flag.NewFlagSet("leat dlq show", flag.ContinueOnError)
	values := fs.Bool("values", true, "show the values; -values=false leaves them out")
	if err := o.parse(fs, dlqShowNote, args, stderr); err != nil {
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
	out := bufio.NewWriterSize(stdout, catBuffer)
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	err = d.each(ctx, ends, func(l *letter) error {
		line, err := d.show(ctx, l, *values)
		if err != nil {
			return err
		}
		if err := enc.Encode(line); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return nil
	})
	if ferr := out.Flush(); err == nil {
		err = ferr
	}
	return stopped(ctx, err)
}

// show is a letter's line. What cannot be decoded is no error here: many letters are in
// the topic for that.
func (d *deadLetters) show(ctx context.Context, l *letter, values bool) (*shownLetter, error) {
	record := *l.Record
	record.Headers = nil
	for _, h := range l.headers.Del(ownHeaders...) {
		record.Headers = append(record.Headers, &sarama.RecordHeader{Key: []byte(h.Key), Value: h.Value})
	}
	if !values {
		record.Value = nil
	}
	r := l.found
	r.Record = &record
	line, err := d.view.line(ctx, r)
	if err != nil {
		return nil, fmt.Errorf("%v, offset %d: %w", l.part, l.offset, err)
	}
	if !values {
		line.Value = nil
	}
	return &shownLetter{letterOrigin{
		Pipeline: l.pipeline, Stage: l.stage, Error: clipText(l.reason, maxErrorHeaderText),
		Topic: l.origin.Topic, Partition: l.origin.Partition, Offset: l.originOffset, Timestamp: timeText(l.made), Redriven: l.redriven,
	}, line}, nil
}
