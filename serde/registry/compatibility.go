package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"
)

// Compatibility returns what the registry asks of a subject's next schema: NONE,
// BACKWARD, FORWARD or FULL, or one of the latter three with _TRANSITIVE. It is the
// subject's own level, or else the registry's. It costs one or two requests; nothing
// is kept.
func (c *Client) Compatibility(ctx context.Context, subject string) (string, error) {
	level, err := c.level(ctx, fmt.Sprintf("get the compatibility level of subject %q", subject), subject)
	if errors.Is(err, ErrNotFound) {
		return c.level(ctx, "get the compatibility level", sr.GlobalSubject)
	}
	return level, err
}

func (c *Client) level(ctx context.Context, op, subject string) (string, error) {
	var got sr.CompatibilityResult
	err := c.ask(ctx, op, func(node *sr.Client) error {
		got = node.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subject)[0]
		return got.Err
	})
	return got.Level.String(), err
}

// Compatible asks whether s could be registered as the next version of subject, and
// why not. A subject without versions takes any schema. It registers nothing.
func (c *Client) Compatible(ctx context.Context, subject string, s Schema) (ok bool, why []string, err error) {
	op := fmt.Sprintf("ask whether a schema is compatible with subject %q", subject)
	wire, err := s.wire()
	if err != nil {
		return false, nil, fmt.Errorf("schema registry: %s: %w", op, err)
	}
	const latest = -1
	var got sr.CheckCompatibilityResult
	err = c.ask(ctx, op, func(node *sr.Client) (err error) {
		got, err = node.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), subject, latest, wire)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		return true, nil, nil
	}
	return got.Is, got.Messages, err
}
