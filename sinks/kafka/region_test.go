package kafka_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

func TestRegionsAreReplaced(t *testing.T) {
	t.Parallel()
	var none kafka.Regions
	key := []byte("a:1")
	if got, want := none.Partition("t", key, nil, 4), kafka.HashKey.Partition("t", key, nil, 4); got != want {
		t.Errorf("without regions %d, want %d", got, want)
	}
	r, err := kafka.NewRegions(map[string]int32{"a": 1})
	noError(t, err, "regions")
	noError(t, r.Replace(map[string]int32{"a": 2, "b": 3}), "replace")
	same(t, "partitions", []int32{r.Partition("t", key, nil, 4), r.Partition("t", []byte("b:1"), nil, 4)}, []int32{2, 3})
	wantError(t, r.Replace(map[string]int32{"a": 0, "z": -1}), pipeline.ErrInvalid, `region "z"`, "-1")
	if got := r.Partition("t", key, nil, 4); got != 2 {
		t.Errorf("after a bad map the partition is %d, want 2", got)
	}
	r.Map()["a"] = 7
	if got := r.Map()["a"]; got != 2 {
		t.Errorf("the map was changed from outside: %d", got)
	}
}

// Replacing and partitioning go on at the same time; the race detector looks on.
func TestRegionsAtTheSameTime(t *testing.T) {
	t.Parallel()
	r, err := kafka.NewRegions(map[string]int32{"a": 0})
	noError(t, err, "regions")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				if p := r.Partition("t", []byte("a:1"), nil, 4); p < 0 || p > 3 {
					t.Errorf("partition %d", p)
				}
			}
		})
	}
	for i := range int32(1000) {
		if err := r.Replace(map[string]int32{"a": i % 4}); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
}

func TestRegionsFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "regions.json")
	for text, says := range map[string]string{
		`{"us-east": 0, "eu-west": 2}`: "",
		`{}`:                           "",
		`{"us-east": 0`:                "unexpected end",
		`["us-east"]`:                  "not an object",
		`{"us-east": "0"}`:             "not an object",
		`{"us-east": 3000000000}`:      "not an object",
		`null`:                         "null",
		``:                             "not an object",
		`{"us-east": -4}`:              `region "us-east"`,
		string(make([]byte, 1<<20+1)):  "bytes",
	} {
		noError(t, os.WriteFile(path, []byte(text), 0o600), "write")
		r, err := kafka.LoadRegions(t.Context(), kafka.RegionsFile(path))
		if says != "" {
			wantError(t, err, pipeline.ErrInvalid, says)
			continue
		}
		noError(t, err, text)
		if got := r.Partition("t", []byte("eu-west:1"), nil, 4); len(r.Map()) == 2 && got != 2 {
			t.Errorf("%s: partition %d", text, got)
		}
	}
	_, err := kafka.LoadRegions(t.Context(), kafka.RegionsFile(filepath.Join(t.TempDir(), "none")))
	wantError(t, err, os.ErrNotExist, "none")
}

func TestRegionsFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		answers := []func() (map[string]int32, error){
			func() (map[string]int32, error) { return map[string]int32{"a": 1}, nil }, // no change
			func() (map[string]int32, error) { return map[string]int32{"a": 2}, nil },
			func() (map[string]int32, error) { return nil, errRegion },
			func() (map[string]int32, error) { return map[string]int32{"a": -1}, nil },
			func() (map[string]int32, error) { return map[string]int32{"a": 3}, nil },
		}
		n := 0
		source := func(context.Context) (map[string]int32, error) {
			n++
			return answers[n-1]()
		}
		r, err := kafka.NewRegions(map[string]int32{"a": 1})
		noError(t, err, "regions")
		var heard []error
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.Follow(ctx, source, time.Second, func(err error) { heard = append(heard, err) })
		}()
		want := []int32{1, 1, 2, 2, 2, 3}
		for i, p := range want {
			time.Sleep(time.Duration(min(i, 1)) * time.Second)
			synctest.Wait()
			if got := r.Partition("t", []byte("a:1"), nil, 4); got != p {
				t.Errorf("after %d answers the partition is %d, want %d", i, got, p)
			}
		}
		cancel()
		<-done
		if len(heard) != 4 || heard[0] != nil || !errors.Is(heard[1], errRegion) || !errors.Is(heard[2], pipeline.ErrInvalid) || heard[3] != nil {
			t.Errorf("heard of %v", heard)
		}
	})
}
