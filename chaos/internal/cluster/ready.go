//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/process"
)

// tick is how often a condition is looked at.
const tick = 100 * time.Millisecond

// until repeats check until it is content, ctx ends, or check finds that a broker has
// ended that nobody told to. It returns the last reason.
func (c *Cluster) until(ctx context.Context, check func() error) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		if errors.As(err, new(*goneError)) {
			return fmt.Errorf("cluster: %w", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return fmt.Errorf("cluster: %w: %w", ctx.Err(), err)
		}
	}
}

// goneError is for a broker that has ended when it should run.
type goneError struct {
	node int32
	log  string
}

func (e *goneError) Error() string { return fmt.Sprintf("broker %d has ended:\n%s", e.node, e.log) }

// up tells whether a broker should answer: it is wanted and does not stand still. If it has
// ended of itself, that is an error.
func (b *broker) up() (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wanted && !b.process.Running() {
		return false, &goneError{b.id, process.Tail(b.logFile())}
	}
	return b.wanted && !b.stopped, nil
}

// alive is nil if the broker answers and knows itself to be counted in.
func (b *broker) alive(ctx context.Context) error {
	up, err := b.up()
	if err != nil {
		return err
	}
	if !up {
		return fmt.Errorf("broker %d does not run", b.id)
	}
	m, err := b.metadata(ctx)
	if err != nil {
		return fmt.Errorf("broker %d: %w", b.id, err)
	}
	if !slices.Contains(living(m), b.id) {
		return fmt.Errorf("broker %d is not among the living: %v", b.id, living(m))
	}
	return nil
}

// living are the brokers in a broker's view.
func living(m *kmsg.MetadataResponse) (all []int32) {
	for _, b := range m.Brokers {
		all = append(all, b.NodeID)
	}
	slices.Sort(all)
	return all
}

// Ready returns when the brokers that run, do not stand still and are not cut off are whole: each of
// them answers and knows exactly them to be alive, and every partition has a leader and
// all its replicas on them in sync. It returns an error with what was missing when ctx ends
// first, and with what its log says when a broker has ended of itself.
func (c *Cluster) Ready(ctx context.Context) error {
	return c.until(ctx, func() error { return c.whole(ctx) })
}

// Whole is nil if Ready would return at once, and else says what is missing.
func (c *Cluster) Whole(ctx context.Context) error { return c.whole(ctx) }

func (c *Cluster) whole(ctx context.Context) error {
	some, err := c.answering()
	if err != nil {
		return err
	}
	var up []int32
	for _, b := range some {
		up = append(up, b.id)
	}
	for _, b := range some {
		m, err := b.metadata(ctx)
		if err != nil {
			return fmt.Errorf("broker %d: %w", b.id, err)
		}
		if got := living(m); !slices.Equal(got, up) {
			return fmt.Errorf("to broker %d those alive are %v, not %v", b.id, got, up)
		}
		for _, t := range m.Topics {
			for _, p := range t.Partitions {
				if err := inSync(&p, up); err != nil {
					return fmt.Errorf("to broker %d %s[%d] %w", b.id, *t.Topic, p.Partition, err)
				}
			}
		}
	}
	return nil
}

func inSync(p *kmsg.MetadataResponseTopicPartition, up []int32) error {
	// A replica that is missing is an error of the partition that we judge ourselves.
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil && !errors.Is(err, kerr.ReplicaNotAvailable) {
		return err
	}
	if !slices.Contains(up, p.Leader) {
		return fmt.Errorf("is led by %d", p.Leader)
	}
	for _, r := range p.Replicas {
		if slices.Contains(up, r) && !slices.Contains(p.ISR, r) {
			return fmt.Errorf("has replica %d not in sync: %v", r, p.ISR)
		}
	}
	return nil
}
