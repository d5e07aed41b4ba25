package send

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/leat-stream/leat/internal/recordbatch"
	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/pipeline"
)

// Producer is the machine on a real cluster. Send, Flush, Partitions and Stats may
// be called from any goroutine; of Begin, SendOffsets, Commit and Abort one at a
// time, and none of them together with a Send. Every call that takes a context
// returns soon after it has ended.
type Producer struct {
	cfg  Config
	acc  *accumulator
	loop *loop
	w    *kafka
	st   stats
}

// New connects and initialises: an idempotent producer gets its id, a
// transactional one ends what an earlier owner of its id has left open.
func New(ctx context.Context, cfg Config) (*Producer, error) { return newProducer(ctx, cfg, nil) }

func newProducer(ctx context.Context, cfg Config, wrap func(net.Conn) net.Conn) (*Producer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Producer{cfg: cfg, loop: newLoop()}
	p.acc = newAccumulator(&p.cfg, p.loop.poke)
	compressor, err := recordbatch.NewCompressor(recordbatch.Codec(cfg.Compression), cfg.CompressionLevel)
	if err != nil {
		return nil, err
	}
	p.w = newKafka(&p.cfg, p.loop, compressor, &p.acc.wires, wrap)
	p.loop.m = newMachine(&p.cfg, p.acc, p.w, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())), &p.st)
	go p.loop.run(func() bool { return p.loop.m.finished() })
	if !cfg.Idempotent {
		return p, nil
	}
	deadline, _ := ctx.Deadline()
	err = p.command(ctx, func(now time.Time, done func(error)) *call { return p.loop.m.initialise(deadline, now, done) })
	if err != nil {
		p.Close(context.WithoutCancel(ctx), 0)
		return nil, err
	}
	return p, nil
}

// command runs f on the loop and waits for done. When ctx ends first, the call is
// dropped: its outcome is then ctx's error, wrapped in ErrUnknown if it was sent.
func (p *Producer) command(ctx context.Context, f func(now time.Time, done func(error)) *call) error {
	result := make(chan error, 1)
	started := make(chan *call, 1)
	if !p.loop.post(func(now time.Time) { started <- f(now, func(err error) { result <- err }) }) {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-p.loop.gone:
		return ErrClosed
	case <-ctx.Done():
	}
	p.loop.post(func(time.Time) {
		if c := <-started; c != nil {
			c.dropped = true
		}
	})
	select {
	case err := <-result:
		return err
	case <-p.loop.gone:
		return ErrClosed
	}
}

// Known returns the number of partitions of a topic that has been asked for, 0 if it
// is not known. It does not block.
func (p *Producer) Known(topic string) int32 { return int32(len(p.acc.partitions(topic))) }

// Partitions returns the number of partitions of a topic, waiting until it is
// known.
func (p *Producer) Partitions(ctx context.Context, topic string) (int32, error) {
	if parts := p.acc.partitions(topic); parts != nil {
		return int32(len(parts)), nil
	}
	result := make(chan error, 1)
	if !p.loop.post(func(now time.Time) {
		p.loop.m.lookUp(topic, now.Add(p.cfg.DeliveryTimeout), func(err error) { result <- err })
	}) {
		return 0, ErrClosed
	}
	select {
	case err := <-result:
		if secure.Refused(err) { // it says where
			return 0, err
		}
		if err != nil {
			return 0, fmt.Errorf("topic %q: %w", topic, err)
		}
		return int32(len(p.acc.partitions(topic))), nil
	case <-p.loop.gone:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// Send appends a record to its partition's batch. It waits for room in the buffer,
// at most MaxBlock. The topic must have been asked for with Partitions. After nil,
// the record's outcome goes to its Done; after an error the record was not taken.
func (p *Producer) Send(ctx context.Context, r *Record) error { return p.acc.append(ctx, r) }

// Flush has everything that was sent before it written at once, and waits until
// all of it has its outcome.
func (p *Producer) Flush(ctx context.Context) error {
	done := p.acc.rounds.end()
	p.loop.poke()
	select {
	case <-done:
		return nil
	case <-p.loop.gone:
		return ErrClosed
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Hurry has everything that was sent before it leave without lingering, as soon as it
// may. It does not wait.
func (p *Producer) Hurry() {
	p.acc.hurried.Store(p.acc.now().UnixNano())
	p.loop.poke()
}

// Begin opens a transaction. If the epoch must be raised first, it waits for it.
func (p *Producer) Begin(ctx context.Context) error {
	for {
		ready := make(chan struct{})
		result := make(chan error, 1)
		if !p.loop.post(func(time.Time) {
			m := p.loop.m
			if m.tx.dead == nil && m.id.asking {
				m.onIdentity = append(m.onIdentity, func() { close(ready) })
				return
			}
			result <- m.begin()
		}) {
			return ErrClosed
		}
		select {
		case err := <-result:
			return err
		case <-ready:
		case <-p.loop.gone:
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// SendOffsets adds input positions to the transaction.
func (p *Producer) SendOffsets(ctx context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	deadline, _ := ctx.Deadline()
	return p.command(ctx, func(now time.Time, done func(error)) *call {
		return p.loop.m.sendOffsets(offsets, group, deadline, now, done)
	})
}

// Commit flushes and commits. After ErrAbortable nothing of the transaction will
// be visible and Abort ends it; after any other error its outcome is unknown, and
// only a new producer with the same id settles it.
func (p *Producer) Commit(ctx context.Context) error {
	if err := p.Flush(ctx); err != nil {
		return fmt.Errorf("%w: flush: %w", ErrAbortable, err)
	}
	return p.end(ctx, true)
}

// Abort discards the transaction: what was not sent fails with ErrAborted, what
// is under way is waited for.
func (p *Producer) Abort(ctx context.Context) error {
	result := make(chan error, 1)
	if !p.loop.post(func(time.Time) { result <- p.loop.m.startAbort() }) {
		return ErrClosed
	}
	select {
	case err := <-result:
		if err != nil {
			return err
		}
	case <-p.loop.gone:
		return ErrClosed
	}
	if err := p.Flush(ctx); err != nil {
		return fmt.Errorf("%w: flush: %w", ErrUnknown, err)
	}
	return p.end(ctx, false)
}

func (p *Producer) end(ctx context.Context, commit bool) error {
	deadline, _ := ctx.Deadline()
	return p.command(ctx, func(now time.Time, done func(error)) *call { return p.loop.m.end(commit, deadline, now, done) })
}

// Stats returns the counters as of now.
func (p *Producer) Stats() Stats { return p.st.snapshot(p.acc) }

// RequestLatency returns a quantile (0 to 1) of the requests' round trips.
func (p *Producer) RequestLatency(q float64) time.Duration { return p.st.requestLatency.Quantile(q) }

// Close refuses new records, gives those under way grace to be written, and ends.
// What has no outcome by then fails with ErrClosed. It leaves an open transaction
// to its time-out or the next owner of its id.
func (p *Producer) Close(ctx context.Context, grace time.Duration) error {
	p.acc.fail(ErrClosed)
	p.acc.mem.close()
	var err error
	if grace > 0 {
		gctx, cancel := context.WithTimeout(ctx, grace)
		err = p.Flush(gctx)
		cancel()
	}
	p.loop.post(func(time.Time) { p.loop.m.close() })
	p.w.cancel()
	select {
	case <-p.loop.gone:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.w.close()
	return err
}
