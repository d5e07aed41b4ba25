package kafkasource

import (
	"fmt"
	"time"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// String is Kafka's name for it.
func (a Assignment) String() string {
	switch a {
	case CooperativeSticky:
		return "cooperative-sticky"
	case Range:
		return "range"
	case RoundRobin:
		return "roundrobin"
	default:
		return fmt.Sprintf("Assignment(%d)", uint8(a))
	}
}

// String is earliest, latest or a time.
func (s Start) String() string {
	switch {
	case s.latest:
		return "latest"
	case !s.at.IsZero():
		return s.at.UTC().Format(time.RFC3339)
	default:
		return "earliest"
	}
}

// Settings implements pipeline.Configured.
func (s *Source) Settings(pipelineName string) []pipeline.Setting {
	c := s.cfg.withDefaults(pipelineName)
	return append(c.cluster().Settings(),
		cluster.Set("Group", c.Group),
		cluster.Set("Instance", c.Instance),
		cluster.Set("Start", c.Start),
		cluster.Set("ResetOutOfRange", c.ResetOutOfRange),
		cluster.Set("Assignment", c.Assignment),
		cluster.Set("SessionTimeout", c.SessionTimeout),
		cluster.Set("HeartbeatInterval", c.HeartbeatInterval),
		cluster.Set("RebalanceTimeout", c.RebalanceTimeout),
		cluster.Set("FetchMaxBytes", c.FetchMaxBytes),
		cluster.Set("LeaveGroup", c.LeaveGroup),
		cluster.Set("UntilEnd", c.UntilEnd),
	)
}
