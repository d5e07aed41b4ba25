package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
)

// LatestVersion stands for a subject's latest version.
const LatestVersion = -1

// Latest returns the latest schema of a subject, with those it refers to. A subject
// that does not exist is [ErrNotFound], marked with pipeline.Fatal. It costs a request;
// nothing is kept.
func (c *Client) Latest(ctx context.Context, subject string) (Registered, error) {
	return c.Version(ctx, subject, LatestVersion)
}

// Version is Latest for a version.
func (c *Client) Version(ctx context.Context, subject string, version int) (Registered, error) {
	op := fmt.Sprintf("get version %d of subject %q", version, subject)
	if version == LatestVersion {
		op = fmt.Sprintf("get the latest version of subject %q", subject)
	}
	var got sr.SubjectSchema
	err := c.ask(ctx, op, func(node *sr.Client) (err error) {
		got, err = node.SchemaByVersion(ctx, subject, version)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = pipeline.Fatal(err)
	}
	if err != nil {
		return Registered{}, err
	}
	return c.registered(ctx, op, got)
}

func (c *Client) registered(ctx context.Context, op string, got sr.SubjectSchema) (Registered, error) {
	s, err := c.whole(ctx, op, got.Schema)
	return Registered{Subject: got.Subject, Version: got.Version, ID: got.ID, GUID: got.GUID, Schema: s}, err
}

// Subjects returns the names of all subjects.
func (c *Client) Subjects(ctx context.Context) (names []string, err error) {
	err = c.ask(ctx, "list the subjects", func(node *sr.Client) (err error) {
		names, err = node.Subjects(ctx)
		return err
	})
	return names, err
}

// Versions returns the numbers of a subject's versions.
func (c *Client) Versions(ctx context.Context, subject string) (versions []int, err error) {
	err = c.ask(ctx, fmt.Sprintf("list the versions of subject %q", subject), func(node *sr.Client) (err error) {
		versions, err = node.SubjectVersions(ctx, subject)
		return err
	})
	return versions, err
}

// WithGUID is Register or Lookup with all names that the registry has given the schema.
// Nothing is kept.
func (c *Client) WithGUID(ctx context.Context, subject string, s Schema, register bool) (Registered, error) {
	if register {
		if _, err := c.Register(ctx, subject, s); err != nil {
			return Registered{}, err
		}
	}
	return c.lookUp(ctx, subject, s)
}

func (c *Client) lookUp(ctx context.Context, subject string, s Schema) (Registered, error) {
	op := fmt.Sprintf("look up a schema for subject %q", subject)
	wire, err := s.wire()
	if err != nil {
		return Registered{}, pipeline.Fatal(fmt.Errorf("schema registry: %s: %w", op, err))
	}
	if !c.cfg.NoNormalize {
		ctx = sr.WithParams(ctx, sr.Normalize)
	}
	var got sr.SubjectSchema
	err = c.ask(ctx, op, func(node *sr.Client) (err error) {
		got, err = node.LookupSchema(ctx, subject, wire)
		return err
	})
	if errors.Is(err, ErrNotFound) {
		err = pipeline.Fatal(err)
	}
	return Registered{Subject: subject, Version: got.Version, ID: got.ID, GUID: got.GUID, Schema: s}, err
}

// Resolve returns the references of a schema with versions: those without one are
// registered under their subjects, or looked up there, in their order. What one of them
// refers to itself is told by the names of those before it that its text contains.
func (c *Client) Resolve(ctx context.Context, s Schema, register bool) ([]Reference, error) {
	var done []Reference
	for _, r := range s.References {
		if r.Version == 0 {
			of := Schema{Type: s.Type, Text: r.Text}
			for _, before := range done {
				if strings.Contains(r.Text, before.Name) {
					of.References = append(of.References, before)
				}
			}
			got, err := c.WithGUID(ctx, r.Subject, of, register)
			if err != nil {
				return nil, fmt.Errorf("reference %q: %w", r.Name, err)
			}
			r.Version = got.Version
		}
		done = append(done, r)
	}
	return done, nil
}
