package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/leat-stream/leat/console"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

// serveConsole shows the job at an address until stop is called, which waits for it.
func serveConsole(ctx context.Context, addr string, stderr io.Writer) (observer pipeline.Observer, stop func(), err error) {
	live, err := console.New(console.Config{})
	if err != nil {
		return nil, nil, err
	}
	listener, err := console.Listen(addr)
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(stderr, "console at http://%s/\n", listener.Addr())
	return live, beside(ctx, stderr, func(ctx context.Context) error { return live.Serve(ctx, listener) }), nil
}

// generateOn writes so many orders a second until stop is called, which waits for it.
func generateOn(ctx context.Context, cfg kafka.Config, registry *registry.Client, rate int, seed uint64, stderr io.Writer) (stop func()) {
	return beside(ctx, stderr, func(ctx context.Context) error {
		w, err := newBatchWriter(ctx, cfg, io.Discard)
		if err != nil {
			return err
		}
		defer func() { _ = w.sink.Close() }() // what is lost was only an example
		g := newGenerator(registry, seed)
		began := time.Now()
		t := time.NewTicker(50 * time.Millisecond)
		defer t.Stop()
		for {
			select {
			case now := <-t.C:
				for due := int(now.Sub(began).Seconds() * float64(rate)); g.made < due && w.err == nil; {
					out, _, err := g.order(ctx)
					w.add(out, err)
				}
				if w.flush(); w.err != nil {
					return fmt.Errorf("generate: %w", w.err)
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// beside runs f beside the job. What goes wrong there is reported, and the job goes on.
func beside(ctx context.Context, stderr io.Writer, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if err := f(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintf(stderr, "orders: %s\n", oneLine(err))
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}
