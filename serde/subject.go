package serde

import "github.com/leat-stream/leat/pipeline"

// SubjectName derives the registry's subject of a schema from where its serde stands
// and the full name of the schema's record or message, which is empty if it has none.
// It is called once per place. An empty subject is an error.
type SubjectName func(at pipeline.Slot, record string) string

// TopicName is Confluent's TopicNameStrategy, the default of all its clients and of
// Leat: <topic>-value or <topic>-key. All records of a topic evolve as one schema.
func TopicName(at pipeline.Slot, _ string) string {
	if at.Key {
		return at.Topic + "-key"
	}
	return at.Topic + "-value"
}

// RecordName is Confluent's RecordNameStrategy: the full name of the record or message,
// whatever the topic. A topic may then hold several types.
func RecordName(_ pipeline.Slot, record string) string { return record }

// TopicRecordName is Confluent's TopicRecordNameStrategy: <topic>-<full name>. A topic
// may hold several types, and each evolves there on its own.
func TopicRecordName(at pipeline.Slot, record string) string {
	if record == "" {
		return ""
	}
	return at.Topic + "-" + record
}
