package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"regexp"
	"strings"
	"time"
)

// letterFilter says which letters are meant. Its zero value means all.
type letterFilter struct {
	pipeline, stage, topic string
	reason                 string // is part of the error
	pattern                matching
	key                    string
	partitions, offsets    offsets // of the dead-letter topic
	since, until           moment
}

func (f *letterFilter) flags(fs *flag.FlagSet) {
	fs.StringVar(&f.pipeline, "pipeline", "", "letters of this pipeline, by `name`")
	fs.StringVar(&f.stage, "stage", "", "letters of this stage, by `name`")
	fs.StringVar(&f.topic, "from-topic", "", "letters of records of this `topic`")
	fs.StringVar(&f.reason, "error", "", "letters whose error contains this `text`")
	fs.Var(&f.pattern, "error-regexp", "letters whose error matches this regular `expression`, as Go has them")
	fs.StringVar(&f.key, "key", "", "letters with this key, as `text` or as show prints it")
	fs.Var(&f.partitions, "partition", "letters in these partitions of the dead-letter topic, as in `0,2-4`")
	fs.Var(&f.offsets, "offset", "letters at these offsets of the dead-letter topic, as in `17-25,40`")
	fs.Var(&f.since, "since", "letters of records that were made at this `time` or later: 2026-01-31T08:00:00Z, or how long ago as 90m")
	fs.Var(&f.until, "until", "letters of records that were made before this `time`")
}

// matches tells all but whether the key does.
func (f *letterFilter) matches(l *letter) bool {
	is := func(want, has string) bool { return want == "" || want == has }
	within := func(o offsets, n int64) bool { return len(o) == 0 || o.has(n) }
	return is(f.pipeline, l.pipeline) && is(f.stage, l.stage) && is(f.topic, l.origin.Topic) &&
		strings.Contains(l.reason, f.reason) && (f.pattern.Regexp == nil || f.pattern.MatchString(l.reason)) &&
		within(f.partitions, int64(l.part.Partition)) && within(f.offsets, l.offset) &&
		(f.since.IsZero() || !l.made.Before(f.since.Time)) && (f.until.IsZero() || l.made.Before(f.until.Time))
}

// matchesKey takes the key also as it is shown.
func (f *letterFilter) matchesKey(key []byte, shown json.RawMessage) bool {
	if key != nil && string(key) == f.key || string(shown) == f.key {
		return true
	}
	var text string
	return bytes.HasPrefix(shown, []byte(`"`)) && json.Unmarshal(shown, &text) == nil && text == f.key
}

// matching is a regular expression as a flag.
type matching struct{ *regexp.Regexp }

func (m *matching) String() string {
	if m.Regexp == nil {
		return ""
	}
	return m.Regexp.String()
}

func (m *matching) Set(s string) (err error) {
	m.Regexp, err = regexp.Compile(s)
	return err
}

// moment is a time as a flag. How long ago something is becomes a time at once.
type moment struct{ time.Time }

func (m *moment) String() string {
	if m.IsZero() {
		return ""
	}
	return m.UTC().Format(time.RFC3339Nano)
}

func (m *moment) Set(s string) (err error) {
	var ok bool
	if m.Time, ok = parseTime(s, time.Now()); !ok {
		return errors.New("want a time as 2026-01-31T08:00:00Z, or how long ago as 90m")
	}
	return nil
}
