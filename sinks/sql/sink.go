package sqlsink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/leat-stream/leat/pipeline"
)

// Sink writes a pipeline's outputs to a database. It is a [pipeline.PositionSink], for
// one run.
//
// Outputs wait in memory until a transaction ends, or until there are 1,000 of them: then
// they are written into the transaction, and who has more waits for the database. So what a
// transaction holds is what the database has taken within a commit interval.
type Sink struct {
	cfg     Config
	sql     statements
	cluster string // of the positions

	work     sync.Mutex // Sends come several at once; a Close may come during what was given up
	waiting  map[string][]pipeline.Output
	waits    int
	tx       *transaction // or nil
	offsets  []pipeline.Offset
	group    string // theirs
	careful  bool   // some record was refused: which, and are there others?
	refusals int    // in a row, see refused

	mu    sync.Mutex
	taken map[key]row
}

var _ pipeline.PositionSink = (*Sink)(nil)

// chunk is how many outputs wait at most before they are written, beyond those of one Send. A
// batch of a writer is no larger.
const chunk = 1000

// New returns a sink. It uses the database from when it is opened.
func New(cfg Config) *Sink { return &Sink{cfg: cfg} }

// Open checks that there is a writer for each output, and makes the table of the
// positions.
func (s *Sink) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	if err := s.cfg.Validate(); err != nil {
		return pipeline.Terms{}, err
	}
	s.cfg = s.cfg.withDefaults()
	if err := s.covers(spec); err != nil {
		return pipeline.Terms{}, err
	}
	s.sql, s.cluster = s.cfg.statements(), spec.Cluster
	s.waiting, s.taken = map[string][]pipeline.Output{}, map[key]row{}
	terms := pipeline.Terms{Guarantee: spec.Guarantee, Cluster: "sql"}
	if spec.Guarantee != pipeline.ExactlyOnce {
		return terms, nil
	}
	for _, name := range slices.Concat(spec.Inputs, []string{spec.Cluster}) {
		if len(name) > maxText {
			return terms, fmt.Errorf("table %s: %q is longer than %d bytes", s.cfg.OffsetsTable, name, maxText)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return terms, s.prepare(ctx)
}

// covers reports outputs without a writer and writers without an output.
func (s *Sink) covers(spec pipeline.Spec) error {
	var have, missing, spare []string
	for _, w := range s.cfg.Writers {
		have = append(have, w.topic)
		if !slices.Contains(spec.Outputs, w.topic) {
			spare = append(spare, w.topic)
		}
	}
	for _, topic := range spec.Outputs {
		if !slices.Contains(have, topic) {
			missing = append(missing, topic)
		}
	}
	var bad []error
	if len(missing) > 0 {
		bad = append(bad, fmt.Errorf("%w: %s; a database has no topics, so that dead letters need a writer, too", ErrNoWriter, strings.Join(missing, ", ")))
	}
	if len(spare) > 0 {
		bad = append(bad, fmt.Errorf("%w: writers for what is no output of the pipeline: %s", pipeline.ErrInvalid, strings.Join(spare, ", ")))
	}
	return errors.Join(bad...)
}

// Init forgets what was taken, drops what is open and finds the database there.
func (s *Sink) Init(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	s.rollBack()
	s.mu.Lock()
	clear(s.taken)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	return s.cfg.Dialect.Classify(s.cfg.DB.PingContext(ctx))
}

// Begin opens a transaction. That of the database begins with its first write.
func (s *Sink) Begin(context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	s.offsets, s.group = nil, ""
	return nil
}

// Send takes outputs, and writes what waits when it is enough.
func (s *Sink) Send(ctx context.Context, outputs []pipeline.Output) error {
	s.work.Lock()
	defer s.work.Unlock()
	for i := range outputs {
		o := &outputs[i]
		s.waiting[o.Topic] = append(s.waiting[o.Topic], *o)
	}
	s.waits += len(outputs)
	if s.waits < chunk {
		return nil
	}
	return s.writeOut(ctx)
}

// Flush writes and commits what waits, without positions, for AtLeastOnce.
func (s *Sink) Flush(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	if s.waits == 0 && s.tx == nil {
		return nil
	}
	s.offsets = nil
	return s.commit(ctx)
}

// SendOffsets takes the positions of the transaction.
func (s *Sink) SendOffsets(_ context.Context, offsets []pipeline.Offset, group pipeline.GroupMetadata) error {
	s.work.Lock()
	defer s.work.Unlock()
	s.offsets, s.group = slices.Clone(offsets), group.Group
	return nil
}

// Commit writes what waits and the positions, and commits. If the database does not
// say what became of it, the sink asks.
func (s *Sink) Commit(ctx context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	return s.commit(ctx)
}

// Abort rolls back.
func (s *Sink) Abort(context.Context) error {
	s.work.Lock()
	defer s.work.Unlock()
	s.rollBack()
	return nil
}

// Close rolls back what is open. The database stays open. What is still at work has been
// given up, and its context has ended: it rolls back by itself.
func (s *Sink) Close() error {
	if s.work.TryLock() {
		defer s.work.Unlock()
		s.rollBack()
	}
	return nil
}

func (s *Sink) drop() {
	for _, outputs := range s.waiting {
		clear(outputs)
	}
	for topic := range s.waiting {
		s.waiting[topic] = s.waiting[topic][:0]
	}
	s.waits = 0
}
