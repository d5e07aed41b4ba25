package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

const (
	// goneAfter is how long brokers must say of a topic that they do not know it: one that
	// has just started may not know it yet.
	goneAfter = 3 * time.Second
	goneEvery = 500 * time.Millisecond
)

// Gone returns an error that wraps [pipeline.ErrMissingTopic] if topics that were there
// have been deleted, and nil if they have not or if no broker can say so. It takes one
// request if they are there, and some seconds if they are not.
func (c *Client) Gone(ctx context.Context, topics []string) error {
	t := time.NewTicker(goneEvery)
	defer t.Stop()
	for began := time.Now(); ; {
		_, err := c.Partitions(ctx, topics)
		switch {
		case !errors.Is(err, pipeline.ErrMissingTopic):
			return nil
		case time.Since(began) >= goneAfter:
			return pipeline.Fatal(fmt.Errorf("deleted while the pipeline ran: %w", err))
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}
