package main

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The headers of leat dlq redrive. Those of a record that was redriven go on with it into
// its next dead letter. A marker stands in the dead-letter topic itself.
const (
	headerRedriven = "leat.redriven"         // how many times the record was redriven
	headerOffsets  = "leat.redriven.offsets" // of a marker: which letters of its partition were
	headerTopicID  = "leat.redriven.topic"   // and the id of the topic that it was written to
	retryHeaders   = "leat.retry."           // how the headers of retry topics begin
)

// letter is a dead letter where it stands.
type letter struct {
	found
	headers                 pipeline.Headers
	pipeline, stage, reason string
	origin                  pipeline.Partition
	originOffset            int64
	made                    time.Time // the record's own time, before 1970 if it has none
	redriven                int       // how many times
}

// letterOf reads the headers of a dead letter. False: it is none, somebody else has
// written it.
func letterOf(r found) (*letter, bool) {
	l := &letter{found: r, made: r.at, headers: make(pipeline.Headers, 0, len(r.Headers))}
	for _, h := range r.Headers {
		l.headers = append(l.headers, pipeline.Header{Key: string(h.Key), Value: h.Value})
	}
	text := func(name string) string {
		value, _ := l.headers.Get(name)
		return string(value)
	}
	l.pipeline, l.stage, l.reason, l.origin.Topic = text(pipeline.HeaderPipeline), text(pipeline.HeaderStage), text(pipeline.HeaderError), text(pipeline.HeaderTopic)
	partition, err := strconv.ParseInt(text(pipeline.HeaderPartition), 10, 32)
	offset, oerr := strconv.ParseInt(text(pipeline.HeaderOffset), 10, 64)
	if l.origin.Topic == "" || err != nil || oerr != nil {
		return nil, false
	}
	l.origin.Partition, l.originOffset = int32(partition), offset
	if ms, err := strconv.ParseInt(text(pipeline.HeaderTimestamp), 10, 64); err == nil {
		l.made = time.UnixMilli(ms)
	}
	l.redriven, _ = strconv.Atoi(text(headerRedriven)) // 0 if it was not
	return l, true
}

// original is the record as it was before it failed, sent back once more. It keeps nothing
// of what was fetched.
func (l *letter) original() kafka.Record {
	r := kafka.Record{Topic: l.origin.Topic, Key: bytes.Clone(l.Key), Value: bytes.Clone(l.Value), Headers: make(pipeline.Headers, 0, len(l.headers))}
	for _, h := range l.userHeaders() {
		r.Headers = append(r.Headers, pipeline.Header{Key: h.Key, Value: bytes.Clone(h.Value)})
	}
	r.Headers = append(r.Headers, pipeline.Header{Key: headerRedriven, Value: strconv.AppendInt(nil, int64(l.redriven)+1, 10)})
	if l.made.UnixMilli() >= 0 {
		r.Timestamp = l.made
	}
	return r
}

// ownHeaders are those that make a letter of a record.
var ownHeaders = []string{
	pipeline.HeaderPipeline, pipeline.HeaderStage, pipeline.HeaderError, pipeline.HeaderTopic,
	pipeline.HeaderPartition, pipeline.HeaderOffset, pipeline.HeaderTimestamp, headerRedriven,
}

// userHeaders are the headers that the record came with.
func (l *letter) userHeaders() pipeline.Headers {
	return slices.DeleteFunc(slices.Clone(l.headers), func(h pipeline.Header) bool {
		return slices.Contains(ownHeaders, h.Key) || strings.HasPrefix(h.Key, retryHeaders)
	})
}

// markedNone is in a marker that only says how far its partition reaches.
const markedNone = "none"

// marker is what says that letters of a partition were redriven. It is written in the
// transaction of their copies.
func marker(part pipeline.Partition, topicID string, done offsets) kafka.Record {
	r := kafka.Record{
		Topic: part.Topic, Partitioner: kafka.ToPartition(part.Partition),
		Headers: pipeline.Headers{{Key: headerOffsets, Value: []byte(cmp.Or(done.String(), markedNone))}},
	}
	if topicID != "" { // brokers have them since 2.8
		r.Headers = append(r.Headers, pipeline.Header{Key: headerTopicID, Value: []byte(topicID)})
	}
	return r
}

// markedBy returns what a record says was redriven, and whether it is a marker. That of
// another topic, which a mirror has brought along, names other letters, and says nothing.
func markedBy(r found, topicID string) (done offsets, is bool) {
	if r.Key != nil || r.Value != nil {
		return nil, false
	}
	var text, of []byte
	for _, h := range r.Headers {
		switch string(h.Key) {
		case headerOffsets:
			text = h.Value
		case headerTopicID:
			of = h.Value
		case pipeline.HeaderTopic: // a marker that has become a letter
			return nil, false
		}
	}
	if string(text) == markedNone {
		return nil, true
	}
	done, err := parseOffsets(string(text))
	if err != nil {
		return nil, false
	}
	if len(of) > 0 && topicID != "" && string(of) != topicID {
		done = nil
	}
	return done, true
}
