package stages_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/stages"
)

// asyncVariants are EnrichAsync with functions that may fail.
var asyncVariants = map[string]func(stream, stages.Table[string, string]) stream{
	"EnrichAsyncCtx": func(s stream, t stages.Table[string, string]) stream {
		return stages.EnrichAsyncCtx(s, "name", func(_ context.Context, v string) (string, error) {
			if v == "no-key" {
				return "", errOops
			}
			return v, nil
		}, t, func(_ context.Context, v, name string) (string, error) {
			if v == "no-join" {
				return "", errOops
			}
			return greet(v, name), nil
		}, stages.AsyncConfig{})
	},
	"EnrichAsyncRecord": func(s stream, t stages.Table[string, string]) stream {
		return stages.EnrichAsyncRecord(s, "name", func(_ context.Context, r *record) (string, error) {
			if r.Value == "no-key" {
				return "", errOops
			}
			return r.Value, nil
		}, t, func(_ context.Context, r *record, name string) (record, error) {
			if r.Value == "no-join" {
				return record{}, errOops
			}
			out := pipeline.With(r, greet(r.Value, name))
			out.Key = []byte(strings.ToUpper(name))
			return out, nil
		}, stages.AsyncConfig{})
	},
}

func TestEnrichAsyncVariants(t *testing.T) {
	for name, build := range asyncVariants {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, s := strs(pipeline.DeadLetter("dlq"))
				to(build(s, slow(func(key string) time.Duration { return time.Duration(9-len(key)) * time.Second })))
				c := onePartition(p, "a", "no-key", "bb", "no-join", "ccc")
				pipelinetest.Run(t, p, c)
				expectEqual(t, "out", valuesIn(c, "out"), []string{"a:v-a", "bb:v-bb", "ccc:v-ccc"})
				expectEqual(t, "dlq", valuesIn(c, "dlq"), []string{"no-key", "no-join"})
				for _, r := range c.Records("out") {
					if name == "EnrichAsyncRecord" && !strings.HasPrefix(string(r.Key), "V-") {
						t.Errorf("key %q is not the function's", r.Key)
					}
				}
			})
		})
	}
}

// A function that fails is tried again, as are look-ups.
func TestEnrichAsyncFunctionsAreRetried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		keys, joins := 0, 0
		p, s := strs()
		to(stages.EnrichAsyncCtx(s, "name", func(_ context.Context, v string) (string, error) {
			if keys++; keys == 2 {
				return "", errOops
			}
			return v, nil
		}, lookUp(func(context.Context, string) (string, bool, error) { return "x", true, nil }), func(_ context.Context, v, name string) (string, error) {
			if joins++; joins == 2 {
				return "", errOops
			}
			return greet(v, name), nil
		}, stages.AsyncConfig{}, pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{Initial: time.Second}, pipeline.Fail))))
		expectEqual(t, "out", through(t, p, "out", "a", "b", "c"), []string{"a:x", "b:x", "c:x"})
		if keys != 4 || joins != 4 {
			t.Errorf("key was called %d times, join %d, want 4", keys, joins)
		}
	})
}
