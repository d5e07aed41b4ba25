package sqlsink

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leat-stream/leat/pipeline"
)

// key names a row of the table.
type key struct {
	group string
	part  pipeline.Partition
}

// row is what this sink has left in a row.
type row struct{ epoch, next int64 }

// statements are those on the table, as the database has them.
type statements struct {
	look, create, take, read, insert, name, advance, retake string
}

const ofRow = " WHERE cluster = ? AND consumer_group = ? AND topic = ? AND part = ?"

func (c *Config) statements() statements {
	on := func(query string) string {
		return c.Dialect.Numbered(strings.NewReplacer("{table}", c.OffsetsTable, "{row}", ofRow).Replace(query))
	}
	return statements{
		look: on("SELECT epoch FROM {table} WHERE part < 0"),
		create: on(`CREATE TABLE IF NOT EXISTS {table} (
			cluster VARCHAR(255) NOT NULL, consumer_group VARCHAR(255) NOT NULL, topic VARCHAR(255) NOT NULL, part INTEGER NOT NULL,
			topic_id VARCHAR(255) NOT NULL, next_offset BIGINT NOT NULL, epoch BIGINT NOT NULL, taken_by VARCHAR(255) NOT NULL,
			PRIMARY KEY (cluster, consumer_group, topic, part))`),
		take:   on("UPDATE {table} SET epoch = epoch + 1, taken_by = ?{row}"),
		read:   on("SELECT epoch, next_offset, topic_id FROM {table}{row}"),
		insert: on("INSERT INTO {table} (taken_by, cluster, consumer_group, topic, part, next_offset, topic_id, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, 1)"),
		name:   on("UPDATE {table} SET topic_id = ?{row}"),
		// The row must be as this sink left it, or another one has taken it.
		advance: on("UPDATE {table} SET next_offset = ?{row} AND epoch = ? AND next_offset = ?"),
		retake:  on("UPDATE {table} SET epoch = epoch + 1{row} AND epoch = ?"),
	}
}

func (s *Sink) of(k key) []any {
	return []any{s.cluster, k.group, k.part.Topic, k.part.Partition}
}

// prepare makes the table if it is not there. It looks first: who may not make tables may
// use one.
func (s *Sink) prepare(ctx context.Context) error {
	look := func() error {
		rows, err := s.cfg.DB.QueryContext(ctx, s.sql.look)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
		}
		return rows.Err()
	}
	if look() == nil {
		return nil
	}
	_, err := s.cfg.DB.ExecContext(ctx, s.sql.create)
	if again := look(); again != nil { // else it is there, perhaps another made it meanwhile
		return fmt.Errorf("table %s: %w", s.cfg.OffsetsTable, errors.Join(err, again))
	}
	return nil
}

// Take implements [pipeline.PositionSink]. The update waits for whoever is committing a
// position of the partition just now, also for one whose process is gone and whose COMMIT is
// still on its way.
func (s *Sink) Take(ctx context.Context, b pipeline.Beginning) (next int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	if b.Position < 0 {
		return 0, pipeline.Fatal(fmt.Errorf("%v: the source does not know where it begins", b.Partition))
	}
	var r row
	for try := range 2 {
		err = s.inTx(ctx, func(tx *sql.Tx) (err error) {
			r, err = s.takeRow(ctx, tx, b)
			return err
		})
		if !errors.Is(err, errInsert) || try > 0 {
			break
		}
		// Another worker may have made the row at the same time: then it is there now.
	}
	if err != nil {
		return 0, s.cfg.Dialect.Classify(fmt.Errorf("table %s: %w", s.cfg.OffsetsTable, err))
	}
	s.mu.Lock()
	s.taken[key{b.Group, b.Partition}] = r
	s.mu.Unlock()
	return r.next, nil
}

var errInsert = errors.New("new row")

func (s *Sink) takeRow(ctx context.Context, tx *sql.Tx, b pipeline.Beginning) (r row, err error) {
	at := s.of(key{b.Group, b.Partition})
	n, err := affected(tx.ExecContext(ctx, s.sql.take, slices.Concat([]any{s.cfg.Owner}, at)...))
	if err != nil {
		return r, err
	}
	if n == 0 {
		if _, err := tx.ExecContext(ctx, s.sql.insert, slices.Concat([]any{s.cfg.Owner}, at, []any{b.Position, b.TopicID})...); err != nil {
			return r, fmt.Errorf("%w: %w", errInsert, err)
		}
		return row{epoch: 1, next: b.Position}, nil
	}
	var id string
	if err := tx.QueryRowContext(ctx, s.sql.read, at...).Scan(&r.epoch, &r.next, &id); err != nil || id == b.TopicID || b.TopicID == "" {
		return r, err
	}
	if id != "" {
		return r, pipeline.Fatal(fmt.Errorf("%v: %w", b.Partition, ErrReplaced))
	}
	_, err = tx.ExecContext(ctx, s.sql.name, slices.Concat([]any{b.TopicID}, at)...)
	return r, err
}

// advance moves the rows of a transaction.
func (s *Sink) advance(ctx context.Context, tx *sql.Tx) error {
	for _, o := range s.offsets {
		k := key{s.group, o.Partition}
		r, ok := s.row(k)
		if !ok {
			return fmt.Errorf("%v: %w", o.Partition, ErrFenced) // never taken: Init has forgotten it
		}
		args := append([]any{o.Next}, s.of(k)...)
		n, err := affected(tx.ExecContext(ctx, s.sql.advance, append(args, r.epoch, r.next)...))
		if err != nil {
			return err
		}
		if n != 1 {
			return fmt.Errorf("%v: %w", o.Partition, ErrFenced)
		}
	}
	return nil
}

// advanced remembers what is committed.
func (s *Sink) advanced() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.offsets {
		k := key{s.group, o.Partition}
		s.taken[k] = row{s.taken[k].epoch, o.Next}
	}
}

func (s *Sink) row(k key) (row, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.taken[k]
	return r, ok
}

// settle finds out what has become of a transaction whose COMMIT gave an error. It takes
// its partitions once more, on another connection if that one is gone: the update waits for
// what is under way, so that what is read then is the end of it.
func (s *Sink) settle(ctx context.Context, cause error) error {
	if len(s.offsets) == 0 {
		return open("commit", cause)
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
	defer cancel()
	found := map[key]row{}
	err := s.inTx(ctx, func(tx *sql.Tx) error {
		for _, o := range s.offsets {
			k := key{s.group, o.Partition}
			had, _ := s.row(k)
			n, err := affected(tx.ExecContext(ctx, s.sql.retake, append(s.of(k), had.epoch)...))
			if err != nil {
				return err
			}
			if n != 1 {
				return fmt.Errorf("%v: %w", o.Partition, ErrFenced)
			}
			var r row
			if err := tx.QueryRowContext(ctx, s.sql.read, s.of(k)...).Scan(&r.epoch, &r.next, new(string)); err != nil {
				return err
			}
			found[k] = r
		}
		return nil
	})
	if err != nil {
		return open("commit", errors.Join(cause, fmt.Errorf("looking for its outcome: %w", err)))
	}
	committed, kept := 0, 0
	for _, o := range s.offsets {
		k := key{s.group, o.Partition}
		had, _ := s.row(k)
		switch found[k].next {
		case o.Next:
			committed++
		case had.next:
			kept++
		}
	}
	s.mu.Lock()
	for k, r := range found {
		s.taken[k] = r
	}
	s.mu.Unlock()
	switch len(s.offsets) {
	case committed:
		return nil
	case kept:
		return s.refused("commit", cause)
	}
	return open("commit", cause)
}

// inTx runs f in a transaction of its own.
func (s *Sink) inTx(ctx context.Context, f func(*sql.Tx) error) error {
	tx, err := s.cfg.DB.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // of what has failed already
		return err
	}
	return tx.Commit()
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
