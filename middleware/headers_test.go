package middleware_test

import (
	"context"
	"testing"

	"github.com/leat-stream/leat/middleware"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

func TestPropagateHeaders(t *testing.T) {
	add := func(kv ...string) (out []pipeline.Header) {
		for i := 0; i < len(kv); i += 2 {
			out = append(out, pipeline.Header{Key: kv[i], Value: []byte(kv[i+1])})
		}
		return out
	}
	schema := serde.HeaderValueSchemaID
	for _, c := range []struct {
		name     string
		headers  middleware.Headers
		in, want []string // key, value …
	}{
		{"zero", middleware.Headers{}, []string{"a", "1", "a", "2", "b", "3"}, []string{"a", "1", "a", "2", "b", "3"}},
		{"none", middleware.Headers{Allow: []string{}}, []string{"a", "1"}, nil},
		{"allow", middleware.Headers{Allow: []string{"a", "x-*"}}, []string{"a", "1", "ab", "2", "x-", "3", "x-y", "4", "x", "5"}, []string{"a", "1", "x-", "3", "x-y", "4"}},
		{"deny", middleware.Headers{Deny: []string{"a*"}}, []string{"a", "1", "b", "2", "ab", "3"}, []string{"b", "2"}},
		{"allow, then deny", middleware.Headers{Allow: []string{"x-*"}, Deny: []string{"x-y"}}, []string{"x-y", "1", "x-z", "2"}, []string{"x-z", "2"}},
		{"rename: the last wins, and replaces", middleware.Headers{Rename: map[string]string{"old": "new"}},
			[]string{"old", "1", "new", "2", "b", "3", "old", "4", "new", "5"}, []string{"b", "3", "new", "4"}},
		{"no rename of what is denied", middleware.Headers{Deny: []string{"old"}, Rename: map[string]string{"old": "new"}},
			[]string{"old", "1", "new", "2"}, []string{"new", "2"}},
		{"swap", middleware.Headers{Rename: map[string]string{"a": "b", "b": "a"}}, []string{"a", "1", "b", "2"}, []string{"b", "1", "a", "2"}},
		{"add replaces", middleware.Headers{Add: add("a", "new")}, []string{"a", "1", "b", "2", "a", "3"}, []string{"b", "2", "a", "new"}},
		{"add replaces what was renamed", middleware.Headers{Add: add("a", "new"), Rename: map[string]string{"b": "a"}}, []string{"b", "2", "c", "3"}, []string{"c", "3", "a", "new"}},
		{"the last of two added", middleware.Headers{Add: add("a", "1", "a", "2")}, nil, []string{"a", "2"}},
		{"budget", middleware.Headers{MaxBytes: 5}, []string{"a", "1", "long", "2", "b", "34"}, []string{"a", "1", "b", "34"}},
		{"budget kept", middleware.Headers{MaxBytes: 4}, []string{"a", "1", "b", "2"}, []string{"a", "1", "b", "2"}},
		{"added first", middleware.Headers{MaxBytes: 4, Add: add("z", "9")}, []string{"a", "1", "b", "2"}, []string{"a", "1", "z", "9"}},
		{"schema", middleware.Headers{Allow: []string{}, MaxBytes: 1}, []string{"a", "1", schema, "id"}, []string{schema, "id"}},
		{"schema kept", middleware.Headers{Deny: []string{"*"}, MaxBytes: 1}, []string{serde.HeaderKeySchemaID, "id"}, []string{serde.HeaderKeySchemaID, "id"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := passing(middleware.PropagateHeaders(c.headers))
			cl := one(p)
			m := pipelinetest.Text("k", "v")
			for i := 0; i < len(c.in); i += 2 {
				m = m.Header(c.in[i], c.in[i+1])
			}
			cl.Feed("in", m, m) // the second shows that the first has changed nothing of it
			pipelinetest.Run(t, p, cl)
			records := cl.Records("out")
			if len(records) != 2 {
				t.Fatalf("%d records, want 2", len(records))
			}
			for _, r := range records {
				if got, want := text(r.Headers), text(add(c.want...)); got != want {
					t.Errorf("%q, want %q", got, want)
				}
			}
		})
	}
}

func TestADeadLetterHasAllHeaders(t *testing.T) {
	p := checking(func(context.Context, string) error { return errOops }, middleware.PropagateHeaders(middleware.Headers{Deny: []string{"secret"}}))
	c := one(p)
	c.Feed("in", pipelinetest.Text("k", "v").Header("secret", "x"))
	pipelinetest.Run(t, p, c)
	if v, ok := c.DeadLetters("dlq")[0].Headers.Get("secret"); !ok || string(v) != "x" {
		t.Errorf("%q, %v", v, ok)
	}
}

func TestHeadersMistakes(t *testing.T) {
	expectInvalid(t, middleware.PropagateHeaders(middleware.Headers{
		Allow: []string{""}, Deny: []string{"a*b"}, Rename: map[string]string{"a": "c", "b": "c", "": "d", "e*": "e", serde.HeaderKeySchemaID: "f"},
		Add: []pipeline.Header{{Key: "abc"}, {Key: ""}, {Key: serde.HeaderValueSchemaID}}, MaxBytes: 2,
	}), "empty name", "not at its end", `"a" and "b" are both`, "a name is empty", "only whole names", "the serde's", "without a name", "more than MaxBytes", `Add of "__value`)
	expectInvalid(t, middleware.PropagateHeaders(middleware.Headers{MaxBytes: -1}), "must not be negative")
}

// What needs no change goes on as it is.
func TestPropagateHeadersAllocatesNothing(t *testing.T) {
	p := passing(middleware.PropagateHeaders(middleware.Headers{Allow: []string{"x-*", "a"}, Deny: []string{"b"}, Rename: map[string]string{"c": "d"}, MaxBytes: 100}))
	task, err := p.Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r := &pipeline.Raw{Value: nil, Headers: pipeline.Headers{{Key: "x-1", Value: []byte("v")}, {Key: "a"}}}
	plain, err := passing().Compile(pipeline.Partition{Topic: "in"}, pipeline.TaskConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r.Value = []byte("v")
	allocs := func(task *pipeline.Task) float64 {
		return testing.AllocsPerRun(200, func() {
			if err := task.Process(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			task.Clear()
		})
	}
	if with, without := allocs(task), allocs(plain); with > without {
		t.Errorf("%v allocations, %v without the middleware", with, without)
	}
}
