// Package instruments is what Leat measures of its pipelines, once: the names, units and
// meanings from which the OpenTelemetry instruments of middleware/otel and the text for
// Prometheus are made.
//
// Labels have few values: pipelines, stages, topics, and words of this code. Partitions,
// offsets, members and records are never among them; what is said of partitions is summed
// up by topic.
package instruments

import "strings"

// Kind is how an instrument's values behave, and how those of several runs go together.
type Kind uint8

const (
	// Counter only grows; several are added.
	Counter Kind = iota
	// UpDown is a quantity; several are added.
	UpDown
	// Gauge is a value of which the largest counts.
	Gauge
	// Histogram is a distribution; several are added.
	Histogram
)

// Instrument is one thing that is measured.
type Instrument struct {
	// Name is OpenTelemetry's, Unit one of UCUM as it uses them.
	Name, Unit string
	Kind       Kind
	Help       string
	// Labels come after [Pipeline], which all instruments have.
	Labels []string
	// Bounds are the upper edges of a histogram's buckets, in Unit, ascending.
	Bounds []float64

	read func(*view, emit)
}

// The labels.
const (
	Pipeline = "pipeline"
	// Stage is a node's name, StageKind what it is: input, output, table, or the kind of
	// stage.
	Stage     = "stage"
	StageKind = "kind"
	// Topic is an input or a table.
	Topic = "topic"
	// Outcome is how a transaction ended, Reason why it was not committed.
	Outcome = "outcome"
	Reason  = "reason"
	// Phase is how far a run has come.
	Phase = "phase"
)

// Seconds reports whether the values are not whole numbers.
func (i *Instrument) Seconds() bool { return i.Unit == "s" }

// Prometheus is the name there, by OpenTelemetry's rules for it: dots are underscores, and
// the unit and _total are appended.
func (i *Instrument) Prometheus() string {
	name := strings.ReplaceAll(i.Name, ".", "_")
	switch i.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if i.Kind == Counter {
		name += "_total"
	}
	return name
}

// Type is the word for it there.
func (i *Instrument) Type() string {
	switch i.Kind {
	case Counter:
		return "counter"
	case Histogram:
		return "histogram"
	default:
		return "gauge"
	}
}
