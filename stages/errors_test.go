package stages_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
)

func pass(s stream) stream { return stages.Filter(s, "pass", func(string) bool { return true }) }

// boom panics for the value "x" only.
func boom(v string) {
	if v == "x" {
		panic(errOops)
	}
}

func boomBool(v string) bool { boom(v); return true }

func boomErr(v string) error { boom(v); return nil }

func boomVal(v string) (string, error) { boom(v); return v, nil }

type boomSerde struct{ serde.Serde[string] }

func (b boomSerde) Append(ctx context.Context, dst []byte, at pipeline.Slot, v string) ([]byte, error) {
	boom(v)
	return b.Serde.Append(ctx, dst, at, v)
}

func (b boomSerde) Decode(ctx context.Context, at pipeline.Slot, data []byte) (string, error) {
	boom(string(data))
	return b.Serde.Decode(ctx, at, data)
}

var boomTable = stages.TableFunc[string, string](func(_ context.Context, key string) (string, bool, error) {
	boom(key)
	return key, true, nil
})

// kinds has one pipeline for each stage kind and variant. The stage under test is
// called "it" and calls user code that panics for the value "x"; stages around it
// run user code too, before and after.
var kinds = map[string]func(stream) stream{
	"Map": func(s stream) stream { return stages.Map(s, "it", boomVal) },
	"MapCtx": func(s stream) stream {
		return stages.MapCtx(s, "it", func(_ context.Context, v string) (string, error) { return boomVal(v) })
	},
	"MapRecord": func(s stream) stream {
		return stages.MapRecord(s, "it", func(_ context.Context, r *record) (record, error) { boom(r.Value); return *r, nil })
	},
	"Filter": func(s stream) stream { return stages.Filter(s, "it", boomBool) },
	"FilterCtx": func(s stream) stream {
		return stages.FilterCtx(s, "it", func(_ context.Context, v string) (bool, error) { return boomBool(v), nil })
	},
	"FilterRecord": func(s stream) stream {
		return stages.FilterRecord(s, "it", func(_ context.Context, r *record) (bool, error) { return boomBool(r.Value), nil })
	},
	"Check": func(s stream) stream { return stages.Check(s, "it", boomErr) },
	"CheckCtx": func(s stream) stream {
		return stages.CheckCtx(s, "it", func(_ context.Context, v string) error { return boomErr(v) })
	},
	"CheckRecord": func(s stream) stream {
		return stages.CheckRecord(s, "it", func(_ context.Context, r *record) error { return boomErr(r.Value) })
	},
	"Peek":    func(s stream) stream { return stages.Peek(s, "it", boom) },
	"PeekCtx": func(s stream) stream { return stages.PeekCtx(s, "it", func(_ context.Context, v string) { boom(v) }) },
	"PeekRecord": func(s stream) stream {
		return stages.PeekRecord(s, "it", func(_ context.Context, r *record) { boom(r.Value) })
	},
	"FlatMap": func(s stream) stream {
		return stages.FlatMap(s, "it", func(v string) ([]string, error) { boom(v); return []string{v}, nil })
	},
	"FlatMapCtx": func(s stream) stream {
		return stages.FlatMapCtx(s, "it", func(_ context.Context, v string) ([]string, error) { boom(v); return []string{v}, nil })
	},
	"FlatMapRecord": func(s stream) stream {
		return stages.FlatMapRecord(s, "it", func(_ context.Context, r *record) ([]record, error) { boom(r.Value); return []record{*r}, nil })
	},
	"FlatMapEmit": func(s stream) stream {
		return stages.FlatMapEmit(s, "it", func(v string, emit func(string)) error { emit(v); boom(v); return nil })
	},
	"FlatMapEmitCtx": func(s stream) stream {
		return stages.FlatMapEmitCtx(s, "it", func(_ context.Context, v string, emit func(string)) error { emit(v); boom(v); return nil })
	},
	"KeyBy": func(s stream) stream {
		return stages.KeyBy(s, "it", func(v string) string { boom(v); return v }, serde.String())
	},
	"KeyByCtx": func(s stream) stream {
		return stages.KeyByCtx(s, "it", func(_ context.Context, v string) (string, error) { return boomVal(v) }, serde.String())
	},
	"KeyByRecord": func(s stream) stream {
		return stages.KeyByRecord(s, "it", func(_ context.Context, r *record) (string, error) { return boomVal(r.Value) }, serde.String())
	},
	"KeyBy's serde": func(s stream) stream {
		return stages.KeyBy(s, "it", same, pipeline.Serde[string](boomSerde{serde.String()}))
	},
	"Enrich's key": func(s stream) stream {
		return stages.Enrich(s, "it", func(v string) string { boom(v); return "a" }, names, greet)
	},
	"Enrich's table": func(s stream) stream { return stages.Enrich(s, "it", same, boomTable, greet) },
	"Enrich's cached table": func(s stream) stream {
		return stages.Enrich(s, "it", same, stages.Cached(boomTable, stages.CachedConfig{}), greet)
	},
	"Enrich's join": func(s stream) stream {
		return stages.Enrich(s, "it", func(string) string { return "a" }, names, func(v, _ string) string { boom(v); return v })
	},
	"EnrichOptional": func(s stream) stream {
		return stages.EnrichOptional(s, "it", same, names, func(v, _ string, _ bool) string { boom(v); return v })
	},
	"EnrichCtx": func(s stream) stream {
		return stages.EnrichCtx(s, "it", func(_ context.Context, v string) (string, error) { return boomVal(v) }, boomTable,
			func(_ context.Context, v, _ string) (string, error) { return v, nil })
	},
	"EnrichRecord": func(s stream) stream {
		return stages.EnrichRecord(s, "it", func(_ context.Context, r *record) (string, error) { return r.Value, nil }, boomTable,
			func(_ context.Context, r *record, _ string) (record, error) { return *r, nil })
	},
	"Split": func(s stream) stream {
		yes, no := stages.Split(s, "it", boomBool)
		return stages.Merge("merge", yes, no)
	},
	"SplitCtx": func(s stream) stream {
		yes, no := stages.SplitCtx(s, "it", func(_ context.Context, v string) (bool, error) { return boomBool(v), nil })
		return stages.Merge("merge", yes, no)
	},
	"SplitRecord": func(s stream) stream {
		yes, no := stages.SplitRecord(s, "it", func(_ context.Context, r *record) (bool, error) { return boomBool(r.Value), nil })
		return stages.Merge("merge", yes, no)
	},
	"Branch": func(s stream) stream {
		return stages.Merge("merge", stages.Branch(s, "it", 1, func(v string) int { boom(v); return 0 })...)
	},
	"BranchCtx": func(s stream) stream {
		return stages.Merge("merge", stages.BranchCtx(s, "it", 1, func(_ context.Context, v string) (int, error) { boom(v); return 0, nil })...)
	},
	"BranchRecord": func(s stream) stream {
		return stages.Merge("merge", stages.BranchRecord(s, "it", 1, func(_ context.Context, r *record) (int, error) { boom(r.Value); return 0, nil })...)
	},
	"BatchByKey's key": func(s stream) stream {
		return stages.BatchByKey(s, "it", stages.BatchConfig{}, func(v string) string { boom(v); return v },
			func(_ string, vs []string) ([]string, error) { return vs, nil })
	},
	"Route": func(s stream) stream {
		stages.Route(s, "it", func(v string) string { boom(v); return "t" }, []string{"t"}, serde.String())
		return s
	},
	"RouteRecord": func(s stream) stream {
		stages.RouteRecord(s, "it", func(r *record) string { boom(r.Value); return "t" }, []string{"t"}, serde.String())
		return s
	},
}

func wantPanic(t *testing.T, se *pipeline.StageError, stage string) {
	t.Helper()
	pe, ok := errors.AsType[*pipeline.PanicError](se)
	if se.Stage != stage || !ok || len(pe.Stack) == 0 || !errors.Is(se, errOops) {
		t.Errorf("got %v, want the panic of stage %q with its stack", se, stage)
	}
}

func TestAPanicIsTheStagesError(t *testing.T) {
	for name, build := range kinds {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			to(pass(build(stages.Map(s, "before", upperExceptX))))
			wantPanic(t, stageError(t, p, "x"), "it")

			// The chain goes on with the next record, and leaves nothing behind.
			task := compile(t, p, "in")
			if err := task.Process(t.Context(), raw("x")); err == nil {
				t.Fatal("no error")
			}
			if got := texts(task); len(got) != 0 {
				t.Errorf("%q left", got)
			}
		})
	}
}

func upperExceptX(v string) (string, error) { return v, nil }

// Whoever runs after a stage panics in its own name: the stage's name must not
// stick, in a fan-out, between values of one record, or upstream of it.
func TestAPanicIsLaidAtTheRightDoor(t *testing.T) {
	after := func(s stream) stream {
		return stages.Map(s, "after", func(v string) (string, error) { boom(v); return v, nil })
	}
	for name, build := range map[string]func(stream){
		"after each value of FlatMap": func(s stream) {
			to(after(stages.FlatMap(s, "it", func(string) ([]string, error) { return []string{"a", "x"}, nil })))
		},
		"after each value of FlatMapEmit": func(s stream) {
			to(after(stages.FlatMapEmit(s, "it", func(_ string, emit func(string)) error { emit("a"); emit("x"); return nil })))
		},
		"the second branch of a fan-out": func(s stream) {
			to(stages.Map(s, "it", upper))
			pipeline.To(after(s), "out2", serde.String())
		},
		"the first branch of a fan-out": func(s stream) {
			to(after(s))
			pipeline.To(stages.Map(s, "it", upper), "out2", serde.String())
		},
		"a branch of Split": func(s stream) {
			yes, no := stages.Split(s, "it", func(string) bool { return false })
			to(yes)
			pipeline.To(after(no), "out2", serde.String())
		},
		"after Merge": func(s stream) {
			to(after(stages.Merge("it", s, stages.Filter(s, "none", func(string) bool { return false }))))
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, s := strs()
			build(s)
			wantPanic(t, stageError(t, p, "x"), "after")
		})
	}
	t.Run("an input's serde", func(t *testing.T) {
		p := pipeline.New("test")
		to(pass(pipeline.From(p, "in", pipeline.Serde[string](boomSerde{serde.String()}))))
		wantPanic(t, stageError(t, p, "x"), "in")
	})
	t.Run("an output's serde", func(t *testing.T) {
		p, s := strs()
		pipeline.To(pass(s), "out", pipeline.Serde[string](boomSerde{serde.String()}))
		wantPanic(t, stageError(t, p, "x"), "out")
	})
}

// flaky fails its first calls with an error.
func flaky(fails int, err error) func() error {
	return func() error {
		if fails--; fails >= 0 {
			return err
		}
		return nil
	}
}

// retried has the kinds whose function may fail, each calling f once a try.
var retried = map[string]func(s stream, f func() error, o ...pipeline.StageOption) stream{
	"Map": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.Map(s, "it", func(v string) (string, error) { return v, f() }, o...)
	},
	"MapCtx": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.MapCtx(s, "it", func(_ context.Context, v string) (string, error) { return v, f() }, o...)
	},
	"MapRecord": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.MapRecord(s, "it", func(_ context.Context, r *record) (record, error) { return *r, f() }, o...)
	},
	"FilterRecord": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.FilterRecord(s, "it", func(context.Context, *record) (bool, error) { return true, f() }, o...)
	},
	"Check": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.Check(s, "it", func(string) error { return f() }, o...)
	},
	"CheckCtx": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.CheckCtx(s, "it", func(context.Context, string) error { return f() }, o...)
	},
	"FlatMap": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.FlatMap(s, "it", func(v string) ([]string, error) { return []string{v}, f() }, o...)
	},
	"FlatMapEmit": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.FlatMapEmit(s, "it", func(v string, emit func(string)) error { emit(v); return f() }, o...)
	},
	"KeyByCtx": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.KeyByCtx(s, "it", func(_ context.Context, v string) (string, error) { return v, f() }, serde.String(), o...)
	},
	"Enrich": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		table := stages.TableFunc[string, string](func(context.Context, string) (string, bool, error) { return "", true, f() })
		return stages.Enrich(s, "it", same, table, func(v, _ string) string { return v }, o...)
	},
	"BranchRecord": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		return stages.Merge("merge", stages.BranchRecord(s, "it", 1, func(context.Context, *record) (int, error) { return 0, f() }, o...)...)
	},
	"SplitRecord": func(s stream, f func() error, o ...pipeline.StageOption) stream {
		yes, no := stages.SplitRecord(s, "it", func(context.Context, *record) (bool, error) { return true, f() }, o...)
		return stages.Merge("merge", yes, no)
	},
}

func TestRetry(t *testing.T) {
	twice := pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{Initial: time.Second}, pipeline.ToDeadLetter))
	for name, build := range retried {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, s := strs(pipeline.DeadLetter("dlq"))
				calls := 0
				fails := flaky(2, errOops)
				to(build(s, func() error { calls++; return fails() }, twice))
				start := time.Now()
				expect(t, feed(t, p, "a"), "out=a")
				if waited := time.Since(start); calls != 3 || waited < 1600*time.Millisecond || waited > 3*time.Second {
					t.Errorf("%d calls in %v, want 3 with about 1 s and 1 s between", calls, waited)
				}

				p, s = strs(pipeline.DeadLetter("dlq"))
				to(build(s, flaky(3, errOops), twice))
				expect(t, feed(t, p, "a"), "dlq=a")
			})
		})
	}
}

func TestRetriableUsesUpNoRetries(t *testing.T) {
	for name, build := range retried {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				calls := 0
				p, s := strs(pipeline.DeadLetter("dlq"))
				to(build(s, func() error {
					switch calls++; {
					case calls <= 20:
						return pipeline.Retriable(errOops)
					case calls == 21:
						return errOops
					}
					return nil
				}, pipeline.OnError(pipeline.Retry(1, pipeline.Backoff{}, pipeline.ToDeadLetter))))
				expect(t, feed(t, p, "a"), "out=a")
			})
		})
	}
}

func TestTimeoutBoundsEachTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, s := strs()
		calls := 0
		to(stages.MapCtx(s, "slow", func(ctx context.Context, v string) (string, error) {
			if calls++; calls < 3 {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return v, nil
		}, pipeline.Timeout(time.Second), pipeline.OnError(pipeline.Retry(2, pipeline.Backoff{}, pipeline.Fail))))
		start := time.Now()
		expect(t, feed(t, p, "a"), "out=a")
		if d := time.Since(start); d < 2*time.Second || d > 3*time.Second {
			t.Errorf("took %v, want two time-outs of 1 s and two short waits", d)
		}
	})
}
