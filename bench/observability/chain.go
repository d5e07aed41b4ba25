//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/serde/registry"
)

// chain is a pipeline and its input.
type chain struct {
	build func(...pipeline.Option) *pipeline.Pipeline
	// feed gives the cluster n records with this context.
	feed  func(c *pipelinetest.Cluster, n int, traceparent string) error
	close func()
}

func chainOf(ctx context.Context, name string) (*chain, error) {
	switch name {
	case "trivial":
		return trivial(), nil
	case "orders":
		return orders(ctx)
	}
	return nil, fmt.Errorf("no chain %q: there are orders and trivial", name)
}

// trivial copies bytes: all that is not the engine's own weighs the most here.
func trivial() *chain {
	return &chain{
		build: func(opts ...pipeline.Option) *pipeline.Pipeline {
			p := pipeline.New("trivial", opts...)
			pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes())
			return p
		},
		feed: func(c *pipelinetest.Cluster, n int, traceparent string) error {
			messages := make([]pipelinetest.Message, n)
			for i := range messages {
				messages[i] = pipelinetest.Text("key", "a value of some length, as small ones are").Header("traceparent", traceparent)
			}
			c.Feed("in", messages...)
			return nil
		},
		close: func() {},
	}
}

// orders is the pipeline of examples/orders: Avro in, a table, a split, Avro out.
func orders(ctx context.Context) (*chain, error) {
	cluster, err := embedded.Start(embedded.Config{})
	if err != nil {
		return nil, err
	}
	reg, err := registry.New(registry.Config{URLs: []string{cluster.RegistryURL()}})
	if err != nil {
		_ = cluster.Close()
		return nil, err
	}
	in := serde.Avro[order](reg, serde.Schema(orderAvsc))
	names := serde.Avro[customer](reg, serde.Schema(customerAvsc))
	return &chain{
		build: func(opts ...pipeline.Option) *pipeline.Pipeline { return ordersPipeline(reg, opts...) },
		feed: func(c *pipelinetest.Cluster, n int, traceparent string) error {
			for i := range customers {
				value, err := names.Append(ctx, nil, pipeline.Slot{Topic: "customers"}, customerOf(i))
				if err != nil {
					return err
				}
				c.Feed("customers", pipelinetest.Bytes([]byte(customerID(i)), value))
			}
			messages := make([]pipelinetest.Message, n)
			for i := range messages {
				o := orderOf(i)
				value, err := in.Append(ctx, nil, pipeline.Slot{Topic: "orders"}, o)
				if err != nil {
					return err
				}
				messages[i] = pipelinetest.Bytes([]byte(o.Region+":"+o.OrderID), value).Header("traceparent", traceparent)
			}
			c.Feed("orders", messages...)
			return nil
		},
		close: func() { _ = cluster.Close() },
	}, nil
}

const (
	unsampledContext = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
	sampledContext   = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
)

// once runs the chain over n records of one partition, and returns what that took; the
// input is made before.
func once(ctx context.Context, c *chain, s subject, on bool, n int) (u usage, err error) {
	a := &attachment{close: func() error { return nil }}
	if on {
		if a, err = s.with(); err != nil {
			return u, err
		}
	}
	p := c.build(a.options...)
	cfg := pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)}
	acks := &acknowledging{}
	if s.intercepts {
		acks.interceptor = idle{}
		if a.interceptor != nil {
			acks.interceptor = a.interceptor(p)
		}
		cfg.Intercept = func(o *pipeline.Outgoing) { _ = acks.interceptor.OnSend(o) }
	}
	cluster := pipelinetest.NewCluster(cfg)
	traceparent := unsampledContext
	if s.sampled {
		traceparent = sampledContext
	}
	if err := c.feed(cluster, n, traceparent); err != nil {
		return u, err
	}
	source, sink := cluster.Ends()
	if s.intercepts {
		acks.TransactionalSink = sink.(pipeline.TransactionalSink)
		sink = acks
	}
	var stats pipeline.Stats
	runtime.GC()
	// A cycle more or less would be worth more than what is measured. What is allocated is
	// told apart.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, err := used()
	if err != nil {
		return u, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() {
		ended <- pipeline.Run(running, p, source, sink, pipeline.Observers(a.observers...), pipeline.Observe(&stats), pipeline.Logger(slog.New(slog.DiscardHandler)))
		stop()
	}()
	finished := cluster.AwaitFinished(running, p)
	stop()
	if err := <-ended; err != nil {
		return u, err
	}
	if finished != nil {
		return u, finished
	}
	if err := a.close(); err != nil { // the last export is part of it
		return u, err
	}
	after, err := used()
	if err != nil {
		return u, err
	}
	if got := stats.Snapshot().Committed; got != int64(n) {
		return u, fmt.Errorf("%d records committed, want %d", got, n)
	}
	return usage{after.cpu - before.cpu, after.allocs - before.allocs}, nil
}
