package history

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/workload"
)

// Config says what a [Recorder] records.
type Config struct {
	Brokers []string
	Topics  workload.Topics
	// Group is the workers' group, TransactionalIDs what their transactional ids
	// begin with.
	Group, TransactionalIDs string
	// Live is the number of live readers. Default: 1.
	Live int
	// Every is the time between samples, that of [WatchConfig] by default. A sample takes
	// 16 bytes for each partition of the input.
	Every time.Duration
	// Dir, if not empty, is where the histories are written to, for a look at them
	// when something was wrong; [History.Forget] removes them.
	Dir string
	// ByMarkers is that of all readers.
	ByMarkers bool
	// Options are further ones of all clients.
	Options []kgo.Opt
}

// Recorder records a workload: start it before the workers.
type Recorder struct {
	cfg   Config
	units *Units
	live  []*Reader
	watch *Watch

	mu      sync.Mutex
	workers map[string]*Worker
	order   []*Worker
}

// History is all that was recorded.
type History struct {
	// Live are what the live readers saw, Reread is what a reader saw afterwards.
	Live   []*Log
	Reread *Log
	// Samples are in order of time.
	Samples []Sample
	// Open are the transactions that were still open at the end, Closing how long it
	// took until there were none, or until it was given up.
	Open    []OpenTransaction
	Closing time.Duration
	// Workers are what the workers said, in the order in which they were started.
	Workers []*Worker

	files []string
}

// StartRecorder starts to record. The caller must call Finish or Stop.
func StartRecorder(cfg Config) (*Recorder, error) {
	if cfg.Live == 0 {
		cfg.Live = 1
	}
	r := &Recorder{cfg: cfg, units: NewUnits(), workers: map[string]*Worker{}}
	for i := range cfg.Live {
		reader, err := StartReader(r.reader(fmt.Sprintf("live-%d", i)))
		if err != nil {
			return nil, errors.Join(err, r.Stop())
		}
		r.live = append(r.live, reader)
	}
	var err error
	r.watch, err = StartWatch(WatchConfig{
		Brokers: cfg.Brokers, Topics: cfg.Topics, Group: cfg.Group, TransactionalIDs: cfg.TransactionalIDs, Every: cfg.Every, Options: cfg.Options,
	})
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func (r *Recorder) reader(name string) ReaderConfig {
	c := ReaderConfig{Name: name, Brokers: r.cfg.Brokers, Topics: r.cfg.Topics, Units: r.units, ByMarkers: r.cfg.ByMarkers, Options: r.cfg.Options}
	if r.cfg.Dir != "" {
		c.File = r.file(name)
	}
	return c
}

func (r *Recorder) file(name string) string { return filepath.Join(r.cfg.Dir, name+".txt") }

// Worker returns where the worker of that name writes its standard output to.
func (r *Recorder) Worker(name string) *Worker {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[name]
	if w == nil {
		w = &Worker{Name: name}
		r.workers[name] = w
		r.order = append(r.order, w)
	}
	return w
}

// Watch is the watch over positions and transactions.
func (r *Recorder) Watch() *Watch { return r.watch }

// Finish waits, until within is over, for the last transaction to end, and has the
// live readers and a new one read to the end, which takes up to ctx's. Workers must
// have ended. It returns an error if that could not be done; a transaction that stays
// open is none.
func (r *Recorder) Finish(ctx context.Context, within time.Duration) (*History, error) {
	closing, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	h := &History{Workers: r.order}
	ends, took, open, err := r.watch.AwaitClosed(closing)
	if err == nil && len(open) > 0 { // what can be read
		ends, err = outputEnds(ctx, r.watch.admin, r.cfg.Topics, true)
	}
	h.Open, h.Closing = open, took
	if err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	h.Samples = r.watch.final(ctx)
	var errs []error
	for _, reader := range r.live {
		waited := reader.Await(ctx, ends)
		log, err := reader.Close()
		h.Live = append(h.Live, log)
		if log.Failed == nil { // else the log says so
			errs = append(errs, waited)
		}
		errs = append(errs, err)
		h.keep(r, log.Name)
	}
	r.live = nil
	errs = append(errs, r.Stop())
	again := r.reader("reread")
	h.Reread, err = Read(ctx, again, ends)
	h.keep(r, again.Name)
	return h, errors.Join(append(errs, err)...)
}

func (h *History) keep(r *Recorder, name string) {
	if r.cfg.Dir != "" {
		h.files = append(h.files, r.file(name))
	}
}

// Forget removes the files.
func (h *History) Forget() error {
	var errs []error
	for _, f := range h.files {
		errs = append(errs, os.Remove(f))
	}
	return errors.Join(errs...)
}

// Stop ends the recorder without a history. After Finish it does nothing.
func (r *Recorder) Stop() error {
	var errs []error
	for _, reader := range r.live {
		_, err := reader.Close()
		errs = append(errs, err)
	}
	r.live = nil
	if r.watch != nil {
		r.watch.Close()
	}
	return errors.Join(errs...)
}
