package sqlsink

import (
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// Settings implements pipeline.Configured.
func (s *Sink) Settings(string) []pipeline.Setting {
	c := s.cfg.withDefaults()
	topics := make([]string, len(c.Writers))
	for i, w := range c.Writers {
		topics[i] = w.topic
	}
	return []pipeline.Setting{
		{Name: "Dialect", Value: c.Dialect.String()},
		{Name: "Writers", Value: strings.Join(topics, ", ")},
		{Name: "OffsetsTable", Value: c.OffsetsTable},
		{Name: "Owner", Value: c.Owner},
		{Name: "Timeout", Value: c.Timeout.String()},
	}
}
