package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

var outputTopics = []string{"orders.enriched", "orders.review", "orders.dlq"}

// otherRegion counts what belongs to no known region.
const otherRegion = "other"

// tally is what the output topics hold, as a reader of committed records sees it.
type tally struct {
	regions map[string]map[string]int64 // by topic and region
	causes  map[cause]int64             // of the dead letters
}

// cause says why a record became a dead letter.
type cause struct{ stage, reason string }

// maxCauses bounds the report and its memory.
const maxCauses = 50

var errReadAll = errors.New("read to the end")

// readBack counts the records of the output topics, from their beginning to their
// ends as of now: the report says what is there, not what this program believes it
// has done. It takes a reader's time for whole topics.
func readBack(ctx context.Context, cfg kafkasource.Config) (t *tally, err error) {
	source := kafkasource.New(cfg)
	defer func() {
		if cerr := source.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := source.Open(ctx, pipeline.Spec{Pipeline: "orders-report", Tables: outputTopics}); err != nil {
		return nil, fmt.Errorf("read back: %w", err)
	}
	t = &tally{regions: map[string]map[string]int64{}, causes: map[cause]int64{}}
	var (
		mu      sync.Mutex // over t
		readers sync.WaitGroup
		errs    = make([]error, len(outputTopics))
	)
	for i, topic := range outputTopics {
		t.regions[topic] = map[string]int64{}
		readers.Go(func() {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			err := source.Follow(ctx, topic, func(_ context.Context, r *pipeline.Raw) error {
				mu.Lock()
				defer mu.Unlock()
				t.add(topic, r)
				return nil
			}, func() { cancel(errReadAll) })
			if !errors.Is(err, errReadAll) {
				errs[i] = fmt.Errorf("read back topic %q: %w", topic, err)
			}
		})
	}
	readers.Wait()
	return t, errors.Join(errs...)
}

func (t *tally) add(topic string, r *pipeline.Raw) {
	region := otherRegion
	if before, _, ok := bytes.Cut(r.Key, []byte(":")); ok {
		if _, known := regions[string(before)]; known {
			region = string(before)
		}
	}
	t.regions[topic][region]++
	if topic != "orders.dlq" {
		return
	}
	stage, _ := r.Headers.Get(pipeline.HeaderStage)
	text, _ := r.Headers.Get(pipeline.HeaderError)
	c := cause{string(stage), stableReason(string(text))}
	if _, known := t.causes[c]; !known && len(t.causes) >= maxCauses {
		c = cause{"", "other reasons"}
	}
	t.causes[c]++
}

var schemaID = regexp.MustCompile(` \(schema id \d+\)`)

// stableReason is an error's text without what differs from record to record: the
// schema's id, and where in the value decoding failed.
func stableReason(text string) string {
	text = schemaID.ReplaceAllString(text, "")
	for _, kind := range []error{serde.ErrMalformed, serde.ErrTrailing} {
		if before, _, ok := strings.Cut(text, kind.Error()); ok {
			return before + kind.Error()
		}
	}
	return text
}
