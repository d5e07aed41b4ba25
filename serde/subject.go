package serde

import "github.com/leat-stream/leat/pipeline"

// subjectName derives the registry's subject from where a serde stands and the
// full name of the schema's record, which may be empty.
type subjectName func(at pipeline.Slot, record string) string

// topicName is Confluent's TopicNameStrategy, the default of all its clients.
func topicName(at pipeline.Slot, _ string) string {
	if at.Key {
		return at.Topic + "-key"
	}
	return at.Topic + "-value"
}
