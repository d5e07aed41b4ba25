//go:build unix

package main

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/history"
	"github.com/leat-stream/leat/chaos/internal/workload"
)

// rig is a workload under observation: topics, a writer, and a recorder.
type rig struct {
	t        testing.TB
	ctx      context.Context
	brokers  []string
	topics   workload.Topics
	group    string
	writer   *workload.Writer
	recorder *history.Recorder
	written  chan error
}

const (
	inputPartitions  = 9
	outputPartitions = 6
	limit            = 2 * time.Minute // of a run; only a failing one takes it
)

// newRig creates topics, with one for counts if workers count, and begins to record.
func newRig(t testing.TB, brokers []string, name string, g workload.Generator, byMarkers, counts bool) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	r := &rig{t: t, ctx: ctx, brokers: brokers, topics: workload.NewTopics(name), group: name, written: make(chan error, 1)}
	if counts {
		r.topics = r.topics.WithCounts(name)
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := r.topics.Create(ctx, client, inputPartitions, outputPartitions, -1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.topics.Delete(context.WithoutCancel(ctx), client); err != nil {
			t.Error(err)
		}
	})
	r.recorder, err = history.StartRecorder(history.Config{
		Brokers: brokers, Topics: r.topics, Group: r.group, TransactionalIDs: "chaos-" + r.group, Live: 2, Dir: t.TempDir(), ByMarkers: byMarkers,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.recorder.Stop(); err != nil {
			t.Error(err)
		}
	})
	r.writer = &workload.Writer{Brokers: brokers, Topic: r.topics.Input, Generator: g}
	return r
}

// write begins to write n inputs at a rate, and then more, slowly, until it is enough.
func (r *rig) write(n uint64, rate float64, enough func() bool) {
	r.writer.Rate = rate
	ctx, cancel := context.WithCancel(r.ctx)
	go func() {
		err := r.writer.Write(ctx, 0, n)
		const more = 50
		r.writer.Rate = 200
		for from := n; err == nil && !enough(); from += more {
			err = r.writer.Write(ctx, from, from+more)
		}
		r.written <- err
	}()
	r.t.Cleanup(func() {
		cancel()
		<-r.written
	})
}

// owning waits until each worker has had partitions to work on.
func (r *rig) owning(names ...string) {
	r.t.Helper()
	for _, name := range names {
		r.await("partitions of worker "+name, func() bool {
			s, ok := r.recorder.Worker(name).Last()
			return ok && len(s.Partitions) > 0
		})
	}
}

// expect waits for the writer and asks the model.
func (r *rig) expect() *check.Expectation {
	r.t.Helper()
	err := <-r.written
	r.written <- err
	if err != nil {
		r.t.Fatal(err)
	}
	x, err := check.Expect(r.ctx, r.brokers, r.topics)
	if err != nil {
		r.t.Fatal(err)
	}
	return x
}

// committed waits until the workers have committed all input.
func (r *rig) committed(x *check.Expectation) {
	r.t.Helper()
	if err := r.recorder.Watch().AwaitCommitted(r.ctx, x.Ends()); err != nil {
		for _, name := range []string{"w0", "w1"} {
			s, _ := r.recorder.Worker(name).Last()
			r.t.Logf("worker %s says: %+v", name, s)
		}
		r.t.Fatal(err)
	}
}

// judge has everything judged, after the workers' end.
func (r *rig) judge(x *check.Expectation, e check.Evidence) *check.Report {
	r.t.Helper()
	h, err := r.recorder.Finish(r.ctx, 30*time.Second)
	if h == nil || err != nil {
		r.t.Fatal(err)
	}
	e.History, e.Expectation = h, x
	report := check.Judge(e)
	r.t.Logf("\n%v", report)
	return report
}

// await polls a condition.
func (r *rig) await(what string, done func() bool) {
	r.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-r.ctx.Done():
			r.t.Fatalf("waited for %s: %v", what, context.Cause(r.ctx))
		}
	}
}
