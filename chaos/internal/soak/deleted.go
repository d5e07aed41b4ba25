//go:build unix

package soak

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/leat-stream/leat/chaos/internal/scenario"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// deletions are the parts in which a topic is deleted: nothing can be promised then but
// that every worker ends, and says why.
func (c *Config) deletions() (all []scenario.Scenario) {
	for _, topic := range []struct {
		role string
		of   func(workload.Topics) string
	}{
		{"input", func(t workload.Topics) string { return t.Input }},
		{"output", func(t workload.Topics) string { return t.Outputs[workload.Right] }},
	} {
		all = append(all, scenario.Scenario{
			Name: "soak-" + topic.role + "-deleted", About: "the " + topic.role + " is deleted: each worker must end and say why",
			Rate: rate, Inputs: 20 * rate, Generator: small, Unjudged: true,
			Play: func(ctx context.Context, r *scenario.Run) error {
				if err := r.Written(ctx, 0.3); err != nil {
					return err
				}
				return deleted(ctx, r, topic.of(r.Topics()))
			},
		})
	}
	return all
}

// loudWithin is how long a worker may take to find out that its topic was deleted: there is one
// to a transaction, and who has none looks for the topic now and then.
const loudWithin = 60 * time.Second

func deleted(ctx context.Context, r *scenario.Run, topic string) error {
	for _, name := range workers {
		r.MayFail(name)
	}
	if err := r.Cluster.DeleteTopics(ctx, topic); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, loudWithin, fmt.Errorf("not within %v", loudWithin))
	defer cancel()
	for _, name := range workers {
		if err := r.Await(ctx, "worker "+name+" to end since topic "+topic+" is deleted", func() bool { return !r.Running(name) }); err != nil {
			return err
		}
		if said := r.Said(name); !strings.Contains(said, topic) {
			return fmt.Errorf("%w: %s has ended without a word on topic %s, which is deleted: %q", scenario.ErrWorker, name, topic, said)
		}
	}
	return nil
}
