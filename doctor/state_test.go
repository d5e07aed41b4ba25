package doctor_test

import (
	"testing"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

// The topic of a stage's state is compacted, and has the partitions of the input.
func TestState(t *testing.T) {
	t.Parallel()
	p := pipeline.New("g")
	in := pipeline.From(p, "in", serde.String())
	pipeline.To(stages.Dedupe(in, "once", func(v string) string { return v }, stages.DedupeConfig{Topic: "seen"}), "out", serde.String())
	for name, c := range map[string]struct {
		policy     string
		partitions int
		want       []string
		text       string
		change     string
	}{
		"sound":         {"compact", partitions, nil, "keeps the latest of each key", ""},
		"deleted":       {"delete", partitions, []string{"fault state seen"}, "deletes the state of stage once", "cleanup.policy=compact"},
		"deleted, too":  {"compact,delete", partitions, []string{"warning state seen"}, "has not changed for retention.ms", "cleanup.policy=compact"},
		"few of them":   {"compact", partitions - 1, []string{"fault state seen"}, "of stage once has", "--alter --topic seen --partitions"},
		"more, no harm": {"compact", partitions + 1, nil, "keeps the latest", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := soundConfig()
			cfg.Topics = append(cfg.Topics, embedded.Topic{Name: "seen", Partitions: c.partitions, Config: map[string]string{"cleanup.policy": c.policy}})
			place := admit(t, cfg)
			// Keys stand where the input's partition was, and not where they would go by themselves.
			place.Produce(keyed("seen", 300, func([]byte) int32 { return 0 })...)
			settings := doctor.Of(p, kafka.Config{Brokers: place.settings.Config.Brokers, Instance: "a"})
			settings.Registry = place.settings.Registry
			report := check(t, settings)
			found(t, report, c.want...)
			says(t, report, doctor.CheckState, c.text, c.change)
		})
	}
}
