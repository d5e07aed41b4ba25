package checktest

import (
	"maps"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Watch returns a function that names the kinds of requests that a fake cluster has
// been sent since, sorted.
func Watch(fake *kfake.Cluster) func() []string {
	var mu sync.Mutex
	seen := map[string]bool{}
	fake.Control(func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		mu.Lock()
		defer mu.Unlock()
		seen[kmsg.NameForKey(r.Key())] = true
		return nil, nil, false
	})
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Sorted(maps.Keys(seen))
	}
}
