package cluster

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Balance gives each partition back to its preferred leader, so that each broker leads some: one
// that was started anew leads none. Partitions whose preferred leader is down stay where
// they are.
func (c *Cluster) Balance(ctx context.Context) error {
	return c.any(ctx, func(b *broker) error {
		req := kmsg.NewPtrElectLeadersRequest() // of the preferred ones, for all topics
		req.TimeoutMillis = 10_000
		_, err := b.ask(ctx, req)
		return err
	})
}
