package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/internal/flight"
)

// maxReferences bounds what one schema may refer to, directly or not.
const maxReferences = 100

// Client asks a registry and remembers the answers. All its methods may be
// called concurrently; equal requests at the same time become one. It starts
// nothing and need not be closed.
type Client struct {
	cfg   Config
	nodes []*sr.Client
	good  atomic.Int32 // index of the node that answered last

	schemas *flight.Cache[int, Schema]
	guids   *flight.Cache[string, Schema]
	ids     *flight.Cache[subjectKey, int]
}

type subjectKey struct {
	subject  string
	typ      Type
	identity string
	register bool
}

// New returns a client, or every mistake in cfg. It makes no request: Ping does.
func New(cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	unknown := func(err error) time.Duration {
		if errors.Is(err, ErrNotFound) && !pipeline.IsFatal(err) {
			return cfg.NegativeTTL
		}
		return 0
	}
	c := &Client{
		cfg:     cfg,
		schemas: flight.New[int, Schema](cfg.MaxCached, unknown),
		guids:   flight.New[string, Schema](cfg.MaxCached, unknown),
		ids:     flight.New[subjectKey, int](cfg.MaxCached, nil),
	}
	for _, u := range cfg.URLs {
		opts := []sr.ClientOpt{sr.URLs(u), sr.HTTPClient(cfg.HTTPClient), sr.UserAgent("leat")}
		if cfg.User != "" {
			opts = append(opts, sr.BasicAuth(cfg.User, cfg.Password))
		}
		if cfg.Token != "" {
			opts = append(opts, sr.BearerToken(cfg.Token))
		}
		if cfg.TokenFunc != nil {
			opts = append(opts, sr.PreReq(func(r *http.Request) error {
				token, err := cfg.TokenFunc(r.Context())
				if err != nil {
					return fmt.Errorf("%w: %w", errToken, err)
				}
				r.Header.Set("Authorization", "Bearer "+token)
				return nil
			}))
		}
		node, err := sr.NewClient(opts...)
		if err != nil {
			return nil, fmt.Errorf("registry: %w", err)
		}
		c.nodes = append(c.nodes, node)
	}
	return c, nil
}

// URLs returns the registry's base URLs, without credentials.
func (c *Client) URLs() []string { return slices.Clone(c.cfg.URLs) }

// SchemaByID returns the schema with the id, with those it refers to. A hit in
// the cache takes no lock. The error for an unknown id wraps [ErrNotFound] and is
// kept for Config.NegativeTTL.
func (c *Client) SchemaByID(ctx context.Context, id int) (Schema, error) {
	if s, ok := c.schemas.Peek(id); ok {
		return s, nil
	}
	return c.schemas.Get(ctx, id, func(ctx context.Context) (Schema, error) { return c.fetch(ctx, id) })
}

func (c *Client) fetch(ctx context.Context, id int) (Schema, error) {
	op := fmt.Sprintf("get schema %d", id)
	var got sr.Schema
	err := c.ask(ctx, op, func(node *sr.Client) (err error) {
		got, err = node.SchemaByID(ctx, id)
		return err
	})
	if err != nil {
		return Schema{}, err
	}
	return c.whole(ctx, op, got)
}

// SchemaByGUID is SchemaByID for a GUID, of which the lower-case form with hyphens is
// asked for.
func (c *Client) SchemaByGUID(ctx context.Context, guid string) (Schema, error) {
	if s, ok := c.guids.Peek(guid); ok {
		return s, nil
	}
	return c.guids.Get(ctx, guid, func(ctx context.Context) (Schema, error) {
		op := "get schema " + guid
		var got sr.SubjectSchema
		err := c.ask(ctx, op, func(node *sr.Client) (err error) {
			got, err = node.SchemaByGUID(ctx, guid)
			return err
		})
		if err != nil {
			return Schema{}, err
		}
		return c.whole(ctx, op, got.Schema)
	})
}

// whole adds to a schema what it refers to.
func (c *Client) whole(ctx context.Context, op string, got sr.Schema) (Schema, error) {
	s := Schema{Type: typeOf(got.Type), Text: got.Schema}
	seen := map[versionKey]bool{}
	if err := c.follow(ctx, op, got.References, seen, &s.References); err != nil {
		return Schema{}, err
	}
	return s, nil
}

type versionKey struct {
	subject string
	version int
}

// follow appends refs to out, each after those it refers to.
func (c *Client) follow(ctx context.Context, op string, refs []sr.SchemaReference, seen map[versionKey]bool, out *[]Reference) error {
	for _, r := range refs {
		key := versionKey{r.Subject, r.Version}
		if seen[key] {
			continue
		}
		seen[key] = true
		if len(seen) > maxReferences {
			return pipeline.Fatal(fmt.Errorf("schema registry: %s: refers to more than %d schemas", op, maxReferences))
		}
		var got sr.SubjectSchema
		err := c.ask(ctx, fmt.Sprintf("%s: get its reference, version %d of subject %q", op, r.Version, r.Subject),
			func(node *sr.Client) (err error) {
				got, err = node.SchemaByVersion(ctx, r.Subject, r.Version)
				return err
			})
		if errors.Is(err, ErrNotFound) {
			// The id is known: this is not one record's fault.
			return pipeline.Fatal(err)
		}
		if err != nil {
			return err
		}
		if err := c.follow(ctx, op, got.References, seen, out); err != nil {
			return err
		}
		*out = append(*out, Reference{Name: r.Name, Subject: r.Subject, Version: r.Version, Text: got.Schema.Schema})
	}
	return nil
}

// Register returns the id of s under subject and registers it there if it is
// new. The answer is kept; every later call with the same schema and subject
// costs no request.
func (c *Client) Register(ctx context.Context, subject string, s Schema) (int, error) {
	return c.idOf(ctx, subject, s, true)
}

// Lookup returns the id that s has under subject. If it has none, the error wraps
// [ErrNotFound] and is marked with pipeline.Fatal: no record can be written.
func (c *Client) Lookup(ctx context.Context, subject string, s Schema) (int, error) {
	return c.idOf(ctx, subject, s, false)
}

func (c *Client) idOf(ctx context.Context, subject string, s Schema, register bool) (int, error) {
	key := subjectKey{subject: subject, typ: s.Type, identity: s.identity(), register: register}
	return c.ids.Get(ctx, key, func(ctx context.Context) (int, error) {
		verb := "look up"
		if register {
			verb = "register"
		}
		op := fmt.Sprintf("%s a schema for subject %q", verb, subject)
		wire, err := s.wire()
		if err != nil {
			return 0, pipeline.Fatal(fmt.Errorf("schema registry: %s: %w", op, err))
		}
		if !c.cfg.NoNormalize {
			ctx = sr.WithParams(ctx, sr.Normalize)
		}
		var id int
		err = c.ask(ctx, op, func(node *sr.Client) (err error) {
			if register {
				id, err = node.RegisterSchema(ctx, subject, wire, -1, -1)
				return err
			}
			found, err := node.LookupSchema(ctx, subject, wire)
			id = found.ID
			return err
		})
		if register {
			err = c.explain(ctx, err, subject, s)
		}
		if errors.Is(err, ErrNotFound) {
			return 0, pipeline.Fatal(err)
		}
		if err == nil && id <= 0 {
			return 0, pipeline.Retriable(&Error{Op: op, URL: c.cfg.URLs[c.good.Load()], Kind: ErrUnavailable, Cause: errors.New("the answer has no id")})
		}
		return id, err
	})
}

// Ping asks for a schema that need not exist, with the same rights as a reader's
// look-ups, and returns nil if a registry answered. It costs one request.
func (c *Client) Ping(ctx context.Context) error {
	err := c.ask(ctx, "ask whether it answers", func(node *sr.Client) error {
		_, err := node.SchemaByID(ctx, 0)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrNotRegistry):
		return pipeline.Fatal(err)
	}
	return err
}

// ask calls the nodes until one answers, and again after a wait if none has, see
// Config.Retries.
func (c *Client) ask(ctx context.Context, op string, do func(*sr.Client) error) error {
	begin := time.Now()
	for try := 0; ; try++ {
		err := c.askEach(ctx, op, do)
		if !pipeline.IsRetriable(err) || try == c.cfg.Retries {
			return err
		}
		wait := c.cfg.Backoff.Wait(try)
		if time.Since(begin)+wait > c.cfg.Timeout {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// askEach calls the node that answered last, and the others while there is no answer.
func (c *Client) askEach(ctx context.Context, op string, do func(*sr.Client) error) error {
	first := int(c.good.Load())
	var err error
	for i := range c.nodes {
		n := (first + i) % len(c.nodes)
		e := do(c.nodes[n])
		if e == nil {
			c.good.Store(int32(n))
			return nil
		}
		err = classify(op, c.cfg.URLs[n], e)
		if !pipeline.IsRetriable(err) {
			c.good.Store(int32(n))
			return err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

// bounded refuses answers that are too large to be a schema: what a wrong address
// sends must not fill the memory.
type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &boundedBody{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= n
	return n, err
}
