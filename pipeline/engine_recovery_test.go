package pipeline_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
)

// After an ambiguous commit the id is initialised anew and the committed positions
// are fetched: what was in memory says nothing about them.
func TestAmbiguousCommit(t *testing.T) {
	for _, f := range []pipelinetest.Fault{
		{Step: pipelinetest.StepCommit, When: pipelinetest.Before, N: 2, Kind: pipelinetest.Ambiguous},
		{Step: pipelinetest.StepCommit, When: pipelinetest.After, N: 2, Kind: pipelinetest.Ambiguous},
		{Step: pipelinetest.StepCommit, N: 2, Kind: pipelinetest.LateEnd},
	} {
		t.Run(f.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := engine(1, calls(takes(30*time.Millisecond)))
				feed(c, 0, numbered("v", 55)...)
				c.Inject(f)
				if err := c.Run(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				expectTexts(t, c, "out", numbered("v", 55)...)
				expectForward(t, c)
				got := steps(c, pipelinetest.StepInit, pipelinetest.StepFetch, pipelinetest.StepCommit, pipelinetest.StepAbort)
				if !strings.HasPrefix(got, "init fetch-committed commit commit init fetch-committed commit") {
					t.Errorf("want the id initialised and the positions fetched again, got %s", got)
				}
			})
		})
	}
}

// The transaction of a worker that is no more ends when it comes back, and what it
// held is processed again.
func TestCrashAndRestart(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(2, asIs)
		feed(c, 0, numbered("v", 20)...)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepOffsets, When: pipelinetest.After, Kind: pipelinetest.Crash})
		if err := c.Run(t.Context(), p); !errors.Is(err, pipelinetest.ErrCrashed) {
			t.Fatalf("got %v", err)
		}
		if len(c.OpenTransactions()) != 1 || len(c.Uncommitted("out")) == 0 || len(c.Records("out")) != 0 {
			t.Error("the dead worker should have left its transaction open")
		}
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", numbered("v", 20)...)
	})
}

// Another worker that takes over waits until the dead one's transaction has ended:
// its positions are not known before.
func TestCrashAndTakeOver(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, numbered("v", 20)...)
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepOffsets, When: pipelinetest.After, Kind: pipelinetest.Crash})
		a := c.Start(t.Context(), p, pipelinetest.Instance("a"))
		settle(time.Second)
		if err := a.Wait(); !errors.Is(err, pipelinetest.ErrCrashed) {
			t.Fatalf("got %v", err)
		}
		if err := c.Run(t.Context(), p, pipelinetest.Instance("b")); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", numbered("v", 20)...)
		for _, commit := range c.Commits() {
			if commit.Worker != "b" {
				t.Errorf("%v is of a worker that had crashed before its commit", commit)
			}
		}
	})
}

func TestFatalErrorsEndTheRun(t *testing.T) {
	for _, step := range pipelinetest.Steps {
		switch step {
		case pipelinetest.StepFlush: // at least once
			continue
		case pipelinetest.StepTake, pipelinetest.StepTell: // of a sink that keeps positions
			continue
		}
		t.Run(string(step), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				p, c := counts(2)
				feed(c, 0, numbered("v", 20)...)
				c.Inject(pipelinetest.Fault{Step: step, Kind: pipelinetest.FatalError})
				if step == pipelinetest.StepAbort {
					c.Inject(pipelinetest.Fault{Step: pipelinetest.StepCommit, Kind: pipelinetest.Abortable})
				}
				w := c.Start(t.Context(), p)
				if step == pipelinetest.StepRevoke {
					settle(time.Second)
					c.Move("test", "in", 0, "nobody")
					w.LoseSession()
				}
				began := time.Now()
				err := w.Wait()
				if !errors.Is(err, pipelinetest.ErrInjected) || !pipeline.IsFatal(err) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took > 2*time.Second {
					t.Errorf("a fatal error took %v", took)
				}
			})
		})
	}
}

// A producer that cannot be initialised yet is tried again; only a fatal error
// ends that.
func TestInitIsTriedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		feed(c, 0, "v")
		for range 20 {
			c.Inject(pipelinetest.Fault{Step: pipelinetest.StepInit, Kind: pipelinetest.Ambiguous})
		}
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		expectTexts(t, c, "out", "v")
	})
}

// fences lets another producer take the id n times, a record and d apart.
func fences(t *testing.T, n int, d time.Duration) error {
	t.Helper()
	p, c := engine(1, asIs)
	w := c.Start(t.Context(), p)
	for i := range n {
		c.Inject(pipelinetest.Fault{Step: pipelinetest.StepSend, Kind: pipelinetest.Fence})
		feed(c, 0, numbered("v", n)[i])
		settle(d)
	}
	err := w.Stop()
	if err == nil {
		expectTexts(t, c, "out", numbered("v", n)...)
	}
	return err
}

// Being fenced is recovered from; being fenced again and again means that another
// worker has the same name.
func TestFenced(t *testing.T) {
	t.Run("five times", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			if err := fences(t, 5, 30*time.Second); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("six times in ten minutes", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			err := fences(t, 6, 30*time.Second)
			if err == nil || !strings.Contains(err.Error(), "another worker runs under the same instance name") {
				t.Errorf("got %v", err)
			}
			if se, ok := errors.AsType[*pipeline.SinkError](err); !ok || se.Verdict != pipeline.Fenced {
				t.Errorf("%v should wrap the sink's error", err)
			}
		})
	})
	t.Run("now and then", func(t *testing.T) {
		inBubble(t, func(t *testing.T) {
			if err := fences(t, 20, 3*time.Minute); err != nil {
				t.Error(err)
			}
		})
	})
}

// Fenced when it begins, a worker has no transaction that could have timed out:
// however old its last one is, another has the id.
func TestFencedWithoutATransactionCounts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		w := c.Start(t.Context(), p)
		for _, v := range numbered("v", 6) {
			c.Inject(pipelinetest.Fault{Step: pipelinetest.StepBegin, Kind: pipelinetest.Fence})
			feed(c, 0, v)
			settle(time.Minute)
		}
		if err := w.Stop(); err == nil {
			t.Error("six fences in ten minutes went unnoticed")
		}
	})
}

// A producer that the cluster fences because its transaction took too long has met
// no other worker.
func TestTimedOutTransactionsAreNotCountedAsFenced(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		p, c := engine(1, asIs)
		slow := 0
		holdCommits(c, 20*time.Second, func() bool { slow++; return slow <= 8 })
		feed(c, 0, "v")
		if err := c.Run(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		if slow != 9 {
			t.Errorf("%d commits", slow)
		}
		expectTexts(t, c, "out", "v")
	})
}
