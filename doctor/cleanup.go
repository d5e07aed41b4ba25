package doctor

import (
	"slices"
	"strings"
	"time"
)

// cleanup looks for topics whose records are deleted before they have served.
func (e *exam) cleanup() {
	for _, topic := range unique(e.DeadLetters) {
		if e.topics[topic] != nil {
			e.keepsLetters(topic)
		}
	}
	for _, r := range e.Retries {
		if e.topics[r.Topic] != nil {
			e.keepsRetries(r)
		}
	}
	for _, topic := range unique(e.Tables) {
		switch {
		case e.topics[topic] == nil:
		case slices.Contains(e.Marks, topic):
			e.keepsMarks(topic)
		default:
			e.keepsKeys(topic)
		}
	}
}

// keepsLetters judges a dead-letter topic. Letters have the keys and the times of their
// records.
func (e *exam) keepsLetters(topic string) {
	policy, ok := e.policy(topic)
	if !ok {
		return
	}
	if slices.Contains(policy, "compact") {
		e.find(CheckCleanup, topic, Fault, e.setTopic(topic, "cleanup.policy=delete"),
			"cleanup.policy=%s: of the letters of one key only the last stays, and those without a key are refused", strings.Join(policy, ","))
		return
	}
	retention, ok := e.setting(CheckCleanup, topic, "retention.ms")
	if !ok {
		return
	}
	clock, ok := e.setting(CheckCleanup, topic, "message.timestamp.type")
	switch {
	case !ok:
	case retention == "-1":
		e.ok(CheckCleanup, topic, "letters are not deleted by time")
	case clock == "LogAppendTime":
		e.ok(CheckCleanup, topic, "letters stay for %s", milliseconds(retention))
	default:
		e.find(CheckCleanup, topic, Warning, e.setTopic(topic, "message.timestamp.type=LogAppendTime"),
			"message.timestamp.type=%s: a letter has its record's time, and if that is older than %s it is deleted at once", clock, milliseconds(retention))
	}
}

// keepsKeys judges a table's topic.
func (e *exam) keepsKeys(topic string) {
	policy, ok := e.policy(topic)
	switch {
	case !ok:
	case slices.Contains(policy, "delete"):
		e.find(CheckCleanup, topic, Warning, e.setTopic(topic, "cleanup.policy=compact"),
			"cleanup.policy=%s: entries that do not change are deleted in time, and the next start does not find them", strings.Join(policy, ","))
	default:
		e.ok(CheckCleanup, topic, "the latest record of each key stays")
	}
}

// policy is a topic's cleanup.policy, which is a list.
func (e *exam) policy(topic string) (words []string, ok bool) {
	value, ok := e.setting(CheckCleanup, topic, "cleanup.policy")
	for word := range strings.SplitSeq(value, ",") {
		words = append(words, strings.TrimSpace(word))
	}
	return words, ok
}

// milliseconds is a setting of this unit as a duration.
func milliseconds(value string) string {
	d, err := time.ParseDuration(value + "ms")
	if err != nil {
		return value + " ms"
	}
	return d.String()
}
