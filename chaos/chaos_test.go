//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/chaos/internal/check"
	"github.com/leat-stream/leat/chaos/internal/workload"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/sinks/kafka"
)

// TestWorkersAreExact runs two workers with aborts on a cluster in this process, and
// has all that was seen judged.
func TestWorkersAreExact(t *testing.T) {
	for name, o := range map[string]workerOptions{
		"units":            {manifests: true, aborts: 1. / 3},
		"stateless":        {aborts: 1. / 3},
		"eager":            {manifests: true, aborts: 1. / 3, assignment: kafka.Range},
		"without an abort": {manifests: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := workload.Usual(1, inputPartitions)
			g.Bursts, g.Swells = 0.0005, 0.001
			r := newRig(t, startEmbedded(t), "exact", g, true, o.manifests)
			o.brokers, o.topics, o.group = r.brokers, r.topics, r.group
			report := r.runInProcess(o)
			if err := report.Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func startEmbedded(t *testing.T) []string {
	t.Helper()
	c, err := embedded.Start(embedded.Config{Brokers: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c.Brokers()
}

// runInProcess runs two workers until everything is committed.
func (r *rig) runInProcess(o workerOptions) *check.Report {
	r.t.Helper()
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	ended := make(chan error, 2)
	for i := range cap(ended) {
		o := o
		o.instance, o.application, o.seed = fmt.Sprint("w", i), "chaos", uint64(i)
		o.heartbeat, o.commitInterval, o.statusEvery = 100*time.Millisecond, 20*time.Millisecond, 50*time.Millisecond
		go func() { ended <- runWorker(ctx, o, r.recorder.Worker(o.instance), slog.New(slog.DiscardHandler)) }()
	}
	r.owning("w0", "w1")
	injected := func() int64 {
		return r.recorder.Worker("w0").Total().Injected + r.recorder.Worker("w1").Total().Injected
	}
	least := int64(0)
	if o.aborts > 0 {
		least = 10
	}
	const inputs = 4000
	r.write(inputs, 3000, func() bool { return injected() >= least })
	x := r.expect()
	r.committed(x)
	cancel()
	for range cap(ended) {
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
	}
	return r.judge(x, check.Evidence{Counters: []check.Counter{
		{Name: "inputs", Got: x.Inputs(), Least: inputs}, {Name: "transactions made to fail", Got: injected(), Least: least},
	}})
}

func TestWorkerReportsAllMistakes(t *testing.T) {
	_, err := parseWorker([]string{"-aborts", "1", "-assignment", "any", "-delivery", "never", "-status", "0s", "rest"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"-brokers", "-topics", "-group", "-aborts", "-assignment", "-delivery", "-status", `"rest"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
