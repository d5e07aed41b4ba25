//go:build unix

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/leat-stream/leat/pipeline"
)

// aborting is a sink that makes some transactions fail, after their records or some
// of them were written: the engine has to abort them, and does so with the real sink.
type aborting struct {
	pipeline.TransactionalSink
	share float64
	n     atomic.Int64

	mu   sync.Mutex
	rand *rand.Rand
	plan plan // for the open transaction
}

// plan is what becomes of a transaction.
type plan uint8

const (
	leave plan = iota
	failSend
	failCommit
)

func newAborting(sink pipeline.TransactionalSink, share float64, seed uint64) *aborting {
	return &aborting{TransactionalSink: sink, share: share, rand: rand.New(rand.NewPCG(seed, 1))}
}

// count is the number of transactions that were made to fail.
func (s *aborting) count() int64 { return s.n.Load() }

var errInjected = &pipeline.SinkError{Op: "chaos", Verdict: pipeline.Abortable, Err: errors.New("made to fail")}

// Begin decides what becomes of the transaction.
func (s *aborting) Begin(ctx context.Context) error {
	s.mu.Lock()
	s.plan = leave
	if s.rand.Float64() < s.share {
		s.plan = failSend + plan(s.rand.IntN(2))
	}
	s.mu.Unlock()
	return s.TransactionalSink.Begin(ctx)
}

// Send may fail once its outputs are on their way.
func (s *aborting) Send(ctx context.Context, outputs []pipeline.Output) error {
	err := s.TransactionalSink.Send(ctx, outputs)
	if err == nil && s.due(failSend) {
		return errInjected
	}
	return err
}

// Commit may fail without having been tried.
func (s *aborting) Commit(ctx context.Context) error {
	if s.due(failCommit) {
		return errInjected
	}
	return s.TransactionalSink.Commit(ctx)
}

func (s *aborting) due(p plan) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plan != p {
		return false
	}
	s.plan = leave
	s.n.Add(1)
	return true
}
