//go:build secure

package kafka_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	"github.com/leat-stream/leat/stages"
)

var errBad = errors.New("bad")

func stagesCheck(in pipeline.Stream[string]) pipeline.Stream[string] {
	return stages.Check(in, "check", func(s string) error {
		if s == "bad" {
			return errBad
		}
		return nil
	})
}

// soon is how long a missing right may take to end a run.
const soon = 12 * time.Second

// task is something that a user does, and the least rights for it, as docs/security.md
// has them.
type task struct {
	rights func(*guarded) []string
	// first is how many of them, from the front, are taken away; the others are as in
	// another task. Zero means all.
	first int
	// do does it once and looks at what came of it.
	do func(t *testing.T, g *guarded) error
	// live does it over and over until it fails or ctx ends; nil if that is no other code.
	live func(ctx context.Context, t *testing.T, g *guarded) error
}

func (k task) taken(all []string) []string {
	if k.first > 0 {
		return all[:k.first]
	}
	return all
}

var tasks = map[string]task{
	"pipeline, exactly once": {
		rights: func(g *guarded) []string {
			return []string{
				"READ on topic " + g.in, "WRITE on topic " + g.out, "WRITE on topic " + g.dead,
				"READ on group " + g.group, "WRITE on transactional-id " + g.txn(),
			}
		},
		do: func(t *testing.T, g *guarded) error {
			g.Produce(text(g.in, "a", "good"), text(g.in, "b", "bad"))
			if err := kafka.Run(t.Context(), g.pipeline(), g.config()); err != nil {
				return err
			}
			if out, dead := values(g.ReadAll(g.out)), values(g.ReadAll(g.dead)); !slices.Contains(out, "good") || !slices.Contains(dead, "bad") {
				t.Errorf("written: %q, dead letters: %q", out, dead)
			}
			return nil
		},
		live: func(ctx context.Context, t *testing.T, g *guarded) error {
			cfg := g.config()
			cfg.UntilEnd = false
			return kafka.Run(ctx, g.pipeline(), cfg)
		},
	},
	"pipeline, at least once": {
		rights: func(g *guarded) []string {
			return []string{"READ on topic " + g.in, "WRITE on topic " + g.out, "WRITE on topic " + g.dead, "READ on group " + g.group}
		},
		do: func(t *testing.T, g *guarded) error {
			g.Produce(text(g.in, "a", "good"), text(g.in, "b", "bad"))
			cfg := g.config()
			cfg.Delivery = pipeline.AtLeastOnce
			return kafka.Run(t.Context(), g.pipeline(), cfg)
		},
		live: func(ctx context.Context, t *testing.T, g *guarded) error {
			cfg := g.config()
			cfg.UntilEnd, cfg.Delivery = false, pipeline.AtLeastOnce
			return kafka.Run(ctx, g.pipeline(), cfg)
		},
	},
	"pipeline with a table": {
		first: 1,
		rights: func(g *guarded) []string {
			return []string{
				"READ on topic " + g.table, "READ on topic " + g.in, "WRITE on topic " + g.out,
				"READ on group " + g.group, "WRITE on transactional-id " + g.txn(),
			}
		},
		do: func(t *testing.T, g *guarded) error {
			g.Produce(text(g.in, "a", "good"), text(g.table, "good", "table"))
			return kafka.Run(t.Context(), g.joining(), g.config())
		},
		live: func(ctx context.Context, t *testing.T, g *guarded) error {
			cfg := g.config()
			cfg.UntilEnd = false
			return kafka.Run(ctx, g.joining(), cfg)
		},
	},
	"producer": {
		rights: func(g *guarded) []string { return []string{"WRITE on topic " + g.out} },
		do: func(t *testing.T, g *guarded) error {
			p, err := kafka.NewProducer(t.Context(), g.settings())
			if err != nil {
				return err
			}
			_, err = p.SendSync(t.Context(), kafka.Record{Topic: g.out, Value: []byte("v")})
			return errors.Join(err, p.Close(t.Context()))
		},
		live: func(ctx context.Context, t *testing.T, g *guarded) error {
			p, err := kafka.NewProducer(ctx, g.settings())
			for err == nil && ctx.Err() == nil {
				_, err = p.SendSync(ctx, kafka.Record{Topic: g.out, Value: []byte("v")})
			}
			return errors.Join(err, p.Close(t.Context()))
		},
	},
	"producer with transactions": {
		rights: func(g *guarded) []string {
			return []string{
				"WRITE on topic " + g.out, "WRITE on transactional-id " + g.id,
				"READ on group " + g.group, "READ on topic " + g.in, // for SendOffsets
			}
		},
		do: func(t *testing.T, g *guarded) error { return transact(t.Context(), t, g, false) },
		live: func(ctx context.Context, t *testing.T, g *guarded) error {
			return transact(ctx, t, g, true)
		},
	},
}

// transact runs transactions that write and commit a position.
func transact(ctx context.Context, t *testing.T, g *guarded, again bool) error {
	s := g.settings()
	s.TransactionalID = g.id
	p, err := kafka.NewProducer(ctx, s)
	if err != nil {
		return err
	}
	for first := true; err == nil && ctx.Err() == nil && (again || first); first = false {
		err = p.InTransaction(ctx, func(tx *kafka.Transaction) error {
			if err := tx.Send(ctx, kafka.Record{Topic: g.out, Value: []byte("v")}, nil); err != nil {
				return err
			}
			at := []pipeline.Offset{{Partition: pipeline.Partition{Topic: g.in}, Next: 1}}
			return tx.SendOffsets(ctx, at, pipeline.GroupMetadata{Group: g.group, Generation: -1})
		})
	}
	return errors.Join(err, p.Close(t.Context()))
}

// Each task works with its least rights; each of them that is missing gives the error
// that names it.
func TestSecureLeastRights(t *testing.T) {
	t.Parallel()
	for name, task := range tasks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := guard(t)
			all := task.rights(g)
			g.Grant(g.principal(), rights(t, all...)...)
			noError(t, task.do(t, g), "with the least rights")
			for _, one := range task.taken(all) {
				g.Revoke(g.principal(), right(t, one))
				wantDenied(t, one, "without it", within2(t, func() error { return task.do(t, g) }))
				less := describing(one)
				g.Grant(g.principal(), right(t, less))
				wantDenied(t, one, "with "+less, within2(t, func() error { return task.do(t, g) }))
				g.Revoke(g.principal(), right(t, less))
				g.Grant(g.principal(), right(t, one))
			}
			noError(t, task.do(t, g), "with all of them again")
		})
	}
}

// A right that is taken away from what runs ends it, with the error that names it.
func TestSecureRightsTakenAway(t *testing.T) {
	t.Parallel()
	for name, task := range tasks {
		for i := range task.taken(task.rights(&guarded{})) {
			t.Run(name+"/"+strings.Join(strings.Fields(task.rights(&guarded{})[i])[:3], " ")+string(rune('0'+i)), func(t *testing.T) {
				t.Parallel()
				g := guard(t)
				all := task.rights(g)
				g.Grant(g.principal(), rights(t, all...)...)
				noError(t, task.do(t, g), "before")
				ended := make(chan error, 1)
				ctx, cancel := context.WithCancel(t.Context())
				go func() { ended <- task.live(ctx, t, g) }()
				defer func() { cancel() }()
				before := len(g.ReadAll(g.out))
				g.Await("it to run", func() bool {
					g.Produce(text(g.in, "a", "good"), text(g.in, "a", "bad"))
					return len(g.ReadAll(g.out)) > before
				})
				g.Revoke(g.principal(), right(t, all[i]))
				deadline := time.After(soon)
				for {
					g.Produce(text(g.in, "a", "good"), text(g.in, "a", "bad"))
					select {
					case err := <-ended:
						wantDenied(t, all[i], "taken away", err)
						return
					case <-deadline:
						cancel()
						t.Fatalf("%s was taken away; it went on for %v, then: %v", all[i], soon, <-ended)
					case <-time.After(20 * time.Millisecond):
					}
				}
			})
		}
	}
}

func within2(t *testing.T, f func() error) (err error) {
	t.Helper()
	within(t, soon, func() { err = f() })
	return err
}

// describing is the same right but to look only.
func describing(text string) string {
	_, on, _ := strings.Cut(text, " ")
	return "DESCRIBE " + on
}

// wantDenied checks that an error names a right.
func wantDenied(t *testing.T, text, when string, err error) {
	t.Helper()
	want := right(t, text)
	if strings.Contains(err.Error(), "IDEMPOTENT_WRITE") && want.Operation == "WRITE" && want.ResourceType == "topic" {
		// A producer that has no topic yet asks for the right to be one, which WRITE on any
		// topic gives.
		want, text = checktest.Right{Operation: "IDEMPOTENT_WRITE", ResourceType: "cluster"}, "WRITE on a topic"
	}
	e, ok := errors.AsType[*kafka.AuthorizationError](err)
	if !ok {
		t.Errorf("%s, %s: error %v", text, when, err)
		return
	}
	t.Logf("%s, %s: %v", text, when, err)
	if got := (checktest.Right{Operation: e.Operation, ResourceType: e.ResourceType, Resource: e.Resource}); got != want {
		t.Errorf("%s, %s: the error names %v: %v", text, when, got, err)
	}
	if !strings.Contains(err.Error(), "grant "+text) {
		t.Errorf("%s, %s: error %q does not say so", text, when, err)
	}
	if kafka.ClassOf(err) != kafka.Fatal {
		t.Errorf("%s, %s: class %v", text, when, kafka.ClassOf(err))
	}
}
