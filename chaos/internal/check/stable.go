package check

import (
	"fmt"

	"github.com/leat-stream/leat/chaos/internal/history"
)

// CheckStable compares what a live reader has seen with what is read afterwards:
// the same records at the same offsets, in the same order.
func CheckStable(live, reread *history.Log) []Violation {
	f := findings{of: Stable}
	for _, log := range []*history.Log{live, reread} {
		if log.Failed != nil {
			f.add("reader %s could not go on: %v", log.Name, log.Failed)
		}
	}
	for topic := range reread.Records {
		for p := range max(len(live.Records[topic]), len(reread.Records[topic])) {
			if text := difference(recordsOf(live, topic, p), recordsOf(reread, topic, p)); text != "" {
				f.add("reader %s, %s[%d]: %s", live.Name, topicName(topic), p, text)
			}
		}
	}
	return f.all()
}

func recordsOf(log *history.Log, topic, partition int) []history.Record {
	if partition >= len(log.Records[topic]) {
		return nil
	}
	return log.Records[topic][partition]
}

// difference describes the first one.
func difference(live, reread []history.Record) string {
	for i := range min(len(live), len(reread)) {
		switch l, r := &live[i], &reread[i]; {
		case *l == *r:
		case l.Offset < r.Offset:
			return fmt.Sprintf("offset %d was seen live, and is not there", l.Offset)
		case l.Offset > r.Offset:
			return fmt.Sprintf("offset %d is there, and was not seen live", r.Offset)
		default:
			return fmt.Sprintf("offset %d is another record than the one that was seen live", l.Offset)
		}
	}
	switch {
	case len(live) > len(reread):
		return fmt.Sprintf("%d records from offset %d on were seen live, and are not there", len(live)-len(reread), live[len(reread)].Offset)
	case len(live) < len(reread):
		return fmt.Sprintf("%d records from offset %d on are there, and were not seen live", len(reread)-len(live), reread[len(live)].Offset)
	}
	return ""
}
