package stages_test

import (
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/stages"
)

// busy is a function that takes a core for 1 ms, and does the same work each time.
func busy(b *testing.B) func(string) (string, error) {
	block := make([]byte, 1<<20)
	rounds := 1
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; {
		crc32.ChecksumIEEE(block[:1<<14])
		rounds++
	}
	rounds /= 20
	return func(v string) (string, error) {
		for range rounds {
			crc32.ChecksumIEEE(block[:1<<14])
		}
		return v, nil
	}
}

// BenchmarkParallel compares Parallel and Map for a function of 1 ms, on the same cores.
func BenchmarkParallel(b *testing.B) {
	fn := busy(b)
	for name, stage := range map[string]func(stream) stream{
		"Map":      func(s stream) stream { return stages.Map(s, "work", fn) },
		"Parallel": func(s stream) stream { return stages.Parallel(s, "work", 2, fn) },
	} {
		b.Run(name, func(b *testing.B) {
			p, s := strs()
			to(stage(s))
			runThrough(b, p)
		})
	}
}

// BenchmarkCalls is what records cost that wait for nothing.
func BenchmarkCalls(b *testing.B) {
	for name, stage := range windows(finicky) {
		b.Run(name, func(b *testing.B) {
			p, s := strs()
			to(stage(s))
			runThrough(b, p)
		})
	}
}

func runThrough(b *testing.B, p *pipeline.Pipeline) {
	task, ctx := compile(b, p, "in"), b.Context()
	if err := task.Assigned(ctx); err != nil {
		b.Fatal(err)
	}
	records := make([]*pipeline.Raw, 64)
	for i := range records {
		records[i] = raw("a")
		records[i].Key = fmt.Append(nil, "key", i)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := task.Process(ctx, records[n%len(records)]); err != nil {
			b.Fatal(err)
		}
		if n++; n%500 == 0 {
			if err := task.BeforeCommit(ctx); err != nil {
				b.Fatal(err)
			}
			task.Clear()
		}
	}
	if err := task.BeforeCommit(ctx); err != nil {
		b.Fatal(err)
	}
	task.Revoked()
}
