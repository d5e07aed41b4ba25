package doctor

import (
	"slices"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// isState tells that a topic is the state of a stage.
func (s *Settings) isState(topic string) bool {
	return slices.Contains(s.stateTopics(), topic)
}

func (s *Settings) stateTopics() (names []string) {
	for _, st := range s.States {
		names = append(names, st.Topic)
	}
	return names
}

// state looks whether the topic of a stage's state keeps it.
func (e *exam) state(st pipeline.StateTopic) {
	topic := e.topics[st.Topic]
	if topic == nil { // reported
		return
	}
	if input := e.topics[st.Input]; input != nil && len(topic.Partitions) < len(input.Partitions) {
		e.find(CheckState, st.Topic, Fault, e.tool("kafka-topics.sh", "--alter --topic %s --partitions %d", st.Topic, len(input.Partitions)),
			"%d partitions, but input %s of stage %s has %d", len(topic.Partitions), st.Input, st.Stage, len(input.Partitions))
	}
	policy, ok := e.setting(CheckState, st.Topic, "cleanup.policy")
	if !ok {
		return
	}
	compacts, deletes := strings.Contains(policy, "compact"), strings.Contains(policy, "delete")
	change := e.setTopic(st.Topic, "cleanup.policy=compact")
	switch {
	case compacts && !deletes:
		e.ok(CheckState, st.Topic, "cleanup.policy=compact keeps the latest of each key")
	case compacts:
		e.find(CheckState, st.Topic, Warning, change, "cleanup.policy=%s deletes what stage %s has not changed for retention.ms", policy, st.Stage)
	default:
		e.find(CheckState, st.Topic, Fault, change, "cleanup.policy=%s deletes the state of stage %s after retention.ms, and keeps every change until then", policy, st.Stage)
	}
}
