package kafka

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// Settings implements pipeline.Configured. Of interceptors it has the types.
func (s *Sink) Settings(pipelineName string) []pipeline.Setting {
	c := s.cfg
	p := c.Producer.withDefaults(cmp.Or(c.CommitInterval, pipeline.DefaultCommitInterval))
	orDefault(&p.MaxBlock, p.DeliveryTimeout)
	id := ""
	if c.Delivery == pipeline.ExactlyOnce {
		c.Instance = cmp.Or(c.Instance, "[random]")
		id = c.TransactionalID(pipelineName)
	}
	types := make([]string, len(c.Interceptors))
	for i, x := range c.Interceptors {
		types[i] = fmt.Sprintf("%T", x)
	}
	return append(c.cluster().Settings(),
		cluster.Set("Application", cmp.Or(c.Application, defaultApplication)),
		cluster.Set("TransactionalID", id),
		cluster.Set("Interceptors", strings.Join(types, ", ")),
		cluster.Set("Producer.Acks", p.Acks),
		cluster.Set("Producer.Idempotence", p.Idempotence == IdempotenceOn),
		cluster.Set("Producer.MaxInFlight", p.MaxInFlight),
		cluster.Set("Producer.Compression", p.Compression),
		cluster.Set("Producer.CompressionLevel", p.levelText()),
		cluster.Set("Producer.Linger", p.Linger),
		cluster.Set("Producer.LingerMax", p.LingerMax),
		cluster.Set("Producer.BatchSize", p.BatchSize),
		cluster.Set("Producer.BufferMemory", p.BufferMemory),
		cluster.Set("Producer.MaxBlock", p.MaxBlock),
		cluster.Set("Producer.MaxRequestSize", p.MaxRequestSize),
		cluster.Set("Producer.RequestTimeout", p.RequestTimeout),
		cluster.Set("Producer.DeliveryTimeout", p.DeliveryTimeout),
		cluster.Set("Producer.MetadataMaxAge", p.MetadataMaxAge),
		cluster.Set("Producer.RetryBackoff", p.RetryBackoff),
		cluster.Set("Producer.RetryBackoffMax", p.RetryBackoffMax),
		cluster.Set("Producer.TransactionTimeout", p.TransactionTimeout),
	)
}

func (c ProducerConfig) levelText() string {
	if c.CompressionLevel == 0 {
		return "the codec's own"
	}
	return fmt.Sprint(c.CompressionLevel)
}
