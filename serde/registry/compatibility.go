package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
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

// MustBeCompatible returns nil if s may be registered as the next version of subject,
// and else an [*Error] that is [ErrIncompatible], with the registry's Reasons, marked
// with pipeline.Fatal. A subject without versions takes any schema. Apicurio gives no
// reasons before it is asked to register: then the one reason is the subject's level.
func (c *Client) MustBeCompatible(ctx context.Context, subject string, s Schema) error {
	ok, why, err := c.Compatible(ctx, subject, s)
	if err != nil || ok {
		return err
	}
	if len(why) == 0 {
		why = c.noReasons(ctx, subject)
	}
	return pipeline.Fatal(&Error{
		Op: fmt.Sprintf("ask whether a schema is compatible with subject %q", subject), URL: c.cfg.URLs[c.good.Load()],
		Kind: ErrIncompatible, Message: shorten(strings.Join(why, "; ")), Reasons: why,
	})
}

// explain adds to the refusal of a schema why it is incompatible. Confluent's registry and
// Karapace say so when asked; Apicurio says it in the refusal itself, and only there.
func (c *Client) explain(ctx context.Context, refusal error, subject string, s Schema) error {
	var e *Error
	if !errors.Is(refusal, ErrIncompatible) || !errors.As(refusal, &e) {
		return refusal
	}
	if _, why, err := c.Compatible(ctx, subject, s); err == nil {
		e.Reasons = why
	}
	if len(e.Reasons) == 0 && e.Message != "" {
		e.Reasons = []string{e.Message}
	}
	if len(e.Reasons) == 0 {
		e.Reasons = c.noReasons(ctx, subject)
	}
	return refusal
}

// noReasons says what is known about a refusal when the registry gives no reason.
func (c *Client) noReasons(ctx context.Context, subject string) []string {
	level, err := c.Compatibility(ctx, subject)
	if err != nil {
		level = "unknown"
	}
	return []string{fmt.Sprintf("the registry gives no reason; the compatibility level of the subject is %s", level)}
}
