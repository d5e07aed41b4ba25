package pipeline

import "fmt"

// Setting is one setting that is in force in a run, for people to read.
type Setting struct {
	// Of is whose it is: "run", "source" or "sink".
	Of string
	// Name is the field's in the configuration, with a dot between the parts of one
	// within another. Value is text; "" if it is not set.
	Name, Value string
}

// Configured is a [Source] or [Sink] that tells how it is configured.
type Configured interface {
	// Settings returns all settings with their defaults, in the order of the
	// configuration; Of is filled in by the caller. Of a secret it tells only that
	// there is one. It is called once, before Open, with the pipeline's name.
	Settings(pipeline string) []Setting
}

// settings are those of the run and of both ends.
func (c *runConfig) settings(p *Pipeline, source Source, sink Sink) []Setting {
	all := []Setting{
		{"run", "Delivery", c.guarantee.String()},
		{"run", "CommitInterval", c.commitInterval.String()},
		{"run", "CommitRecords", fmt.Sprint(c.commitRecords)},
		{"run", "CommitBytes", fmt.Sprint(c.commitBytes)},
		{"run", "StopTimeout", c.stopTimeout.String()},
	}
	for _, end := range []struct {
		of    string
		value any
	}{{"source", source}, {"sink", sink}} {
		configured, ok := end.value.(Configured)
		if !ok {
			continue
		}
		for _, s := range configured.Settings(p.name) {
			s.Of = end.of
			all = append(all, s)
		}
	}
	return all
}
