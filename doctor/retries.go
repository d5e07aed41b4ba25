package doctor

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// keepsRetries judges a retry topic. What waits there has the keys and the times of its
// records, as letters have.
func (e *exam) keepsRetries(r pipeline.RetryTier) {
	policy, ok := e.policy(r.Topic)
	if !ok {
		return
	}
	if slices.Contains(policy, "compact") {
		e.find(CheckCleanup, r.Topic, Fault, e.setTopic(r.Topic, "cleanup.policy=delete"),
			"cleanup.policy=%s: records that wait to be retried are dropped when others of their key come", strings.Join(policy, ","))
		return
	}
	retention, ok := e.setting(CheckCleanup, r.Topic, "retention.ms")
	if !ok {
		return
	}
	clock, ok := e.setting(CheckCleanup, r.Topic, "message.timestamp.type")
	ms, err := strconv.ParseInt(retention, 10, 64)
	switch {
	case !ok:
	case retention == "-1":
		e.ok(CheckCleanup, r.Topic, "records that wait are not deleted by time")
	case err == nil && ms <= r.Delay.Milliseconds():
		e.find(CheckCleanup, r.Topic, Fault, e.setTopic(r.Topic, "retention.ms=-1"),
			"retention.ms=%d: records may be deleted before they are due, after %v", ms, r.Delay)
	case clock == "LogAppendTime":
		e.ok(CheckCleanup, r.Topic, "records that wait stay for %s", milliseconds(retention))
	default:
		e.find(CheckCleanup, r.Topic, Warning, e.setTopic(r.Topic, "message.timestamp.type=LogAppendTime"),
			"message.timestamp.type=%s: a record keeps its time, and if that is older than %s it is deleted at once", clock, milliseconds(retention))
	}
}

// keepsMarks judges the topic of the marks of keys that wait.
func (e *exam) keepsMarks(topic string) {
	policy, ok := e.policy(topic)
	switch {
	case !ok:
	case slices.Contains(policy, "delete"):
		e.find(CheckCleanup, topic, Fault, e.setTopic(topic, "cleanup.policy=compact"),
			"cleanup.policy=%s: marks of keys that wait to be retried are deleted in time, and records overtake others of their key", strings.Join(policy, ","))
	default:
		e.ok(CheckCleanup, topic, "the marks of keys that wait stay")
	}
}
