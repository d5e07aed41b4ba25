package stages

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/leat-stream/leat/internal/pace"
	"github.com/leat-stream/leat/pipeline"
)

// desk is where all partitions of an EnrichAsync look up.
type desk[K comparable, V any] struct {
	table       Table[K, V]
	many        BatchTable[K, V] // nil if the table is none
	concurrency int
	batchSize   int
	batchWait   time.Duration
	optional    bool          // a key that is not there is no error
	limit       *pace.Limiter // or nil
	breaker     *breaker      // or nil
}

func newDesk[K comparable, V any](table Table[K, V], cfg AsyncConfig) (*desk[K, V], error) {
	err := cfg.Validate()
	many, isBatch := table.(BatchTable[K, V])
	if !isBatch && cfg.BatchSize > 1 {
		err = errors.Join(err, errors.New("AsyncConfig.BatchSize is for a table with GetMany, see BatchTable"))
	}
	if err != nil {
		return nil, err
	}
	d := &desk[K, V]{
		table: table, many: many, concurrency: cmp.Or(cfg.Concurrency, defaultConcurrency),
		batchSize: 1, batchWait: cmp.Or(cfg.BatchWait, defaultBatchWait),
	}
	if isBatch {
		d.batchSize = cmp.Or(cfg.BatchSize, defaultKeysAtOnce)
	}
	if cfg.PerSecond > 0 {
		d.limit, _ = pace.NewLimiter(cfg.PerSecond, cmp.Or(cfg.Burst, 1)) // validated above
	}
	if cfg.BreakAfter > 0 {
		d.breaker = &breaker{after: cfg.BreakAfter, coolDown: cmp.Or(cfg.CoolDown, defaultCoolDown)}
	}
	return d, nil
}

// lookUps are those of one partition.
type lookUps[K comparable, In, V any] struct {
	*desk[K, V]
	sc    *pipeline.StageContext
	owner *sync.WaitGroup
	slots chan struct{} // has one in it for each batch that is looked up
	open  *keyBatch[K, In, V]
}

// begin looks a key up for a call. run is the context of a batch.
func (l *lookUps[K, In, V]) begin(run context.Context, c *call[In, V], key K) {
	if l.batchSize > 1 {
		l.enqueue(run, c, key)
		return
	}
	l.owner.Go(func() {
		defer c.finish()
		c.err = errGoexit // unless it returns
		l.get(c, key)
	})
}

// get looks up one key.
func (l *lookUps[K, In, V]) get(c *call[In, V], key K) {
	var value V
	var found bool
	err := l.try(c.ctx, func(ctx context.Context) (err error) {
		value, found, err = l.table.Get(ctx, key)
		return err
	})
	l.set(c, value, found, err)
}

// set is what has come of a call.
func (l *lookUps[K, In, V]) set(c *call[In, V], value V, found bool, err error) {
	switch {
	case err != nil:
		c.err = err
	case !found && !l.optional:
		c.err = errUnknownKey
	case !found:
		c.missing, c.err = true, nil
	default:
		c.value, c.err = value, nil
	}
}

// try makes a look-up as the stage's policy has it, with what stands before each try.
func (l *lookUps[K, In, V]) try(ctx context.Context, lookUp func(context.Context) error) error {
	return l.sc.Try(ctx, func(ctx context.Context) error {
		if l.limit != nil {
			if d := l.limit.Reserve(time.Now()); d > 0 {
				if err := l.sc.Wait(ctx, d); err != nil {
					return err
				}
			}
		}
		return l.breaker.through(ctx, func() error {
			ctx, cancel := limited(ctx, l.sc.Timeout())
			defer cancel()
			return lookUp(ctx)
		})
	})
}

// keyBatch is a look-up of several keys. Its goroutine waits for it to be full.
type keyBatch[K comparable, In, V any] struct {
	sealed chan struct{} // closed: there is nothing to wait for

	mu     sync.Mutex
	calls  []*call[In, V]
	keys   []K  // theirs
	closed bool // it takes no more
}

func (b *keyBatch[K, In, V]) add(c *call[In, V], key K) (n int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, false
	}
	b.calls, b.keys = append(b.calls, c), append(b.keys, key)
	return len(b.calls), true
}

func (l *lookUps[K, In, V]) enqueue(run context.Context, c *call[In, V], key K) {
	if l.open != nil {
		if n, ok := l.open.add(c, key); ok {
			if n == l.batchSize {
				l.seal()
			}
			return
		}
	}
	b := &keyBatch[K, In, V]{sealed: make(chan struct{}), calls: []*call[In, V]{c}, keys: []K{key}}
	l.open = b
	l.owner.Go(func() { l.serve(run, b) })
}

// seal lets the open batch go.
func (l *lookUps[K, In, V]) seal() {
	if l.open != nil {
		close(l.open.sealed)
		l.open = nil
	}
}

// serve is a batch's goroutine.
func (l *lookUps[K, In, V]) serve(ctx context.Context, b *keyBatch[K, In, V]) {
	wait := time.NewTimer(l.batchWait)
	defer wait.Stop()
	select {
	case <-b.sealed:
	case <-wait.C:
	}
	l.slots <- struct{}{} // those that have one end when ctx does
	defer func() { <-l.slots }()

	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	defer func() {
		// The chain waits for the first: then all are finished, and what it takes in their
		// stead is one batch again.
		for _, c := range slices.Backward(b.calls) {
			c.finish()
		}
	}()
	for _, c := range b.calls {
		c.err = errGoexit // unless it returns
	}
	l.lookUp(ctx, b)
}

func (l *lookUps[K, In, V]) lookUp(ctx context.Context, b *keyBatch[K, In, V]) {
	keys := distinct(b.keys)
	var values map[K]V
	err := l.try(ctx, func(ctx context.Context) (err error) {
		values, err = l.many.GetMany(ctx, keys)
		return err
	})
	alone := err != nil && len(keys) > 1 && ctx.Err() == nil && !pipeline.IsFatal(err) && !pipeline.IsInterrupted(err)
	for i, c := range b.calls {
		if alone { // not the error of all of them
			l.get(c, b.keys[i])
			continue
		}
		value, found := values[b.keys[i]]
		l.set(c, value, found, err)
	}
}

// distinct returns the keys in order, each once.
func distinct[K comparable](keys []K) []K {
	seen := make(map[K]struct{}, len(keys))
	once := make([]K, 0, len(keys))
	for _, k := range keys {
		if _, ok := seen[k]; !ok {
			seen[k] = struct{}{}
			once = append(once, k)
		}
	}
	return once
}
