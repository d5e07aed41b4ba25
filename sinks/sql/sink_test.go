package sqlsink_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/internal/checksql"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

func TestValidate(t *testing.T) {
	err := sqlsink.Config{
		OffsetsTable: "a; DROP TABLE b", Timeout: -1, Owner: strings.Repeat("x", 256),
		Writers: []sqlsink.Writer{
			{},
			sqlsink.Write[string]("a", nil, nil),
			sqlsink.WriteBatch("b", serde.String(), 0, func(context.Context, *sql.Tx, []pipeline.Record[string]) error { return nil }),
			writers()[0], writers()[0],
		},
	}.Validate()
	for _, part := range []string{
		"DB is not set", "Dialect is not set", "OffsetsTable", "Timeout", "Owner", "not made by Write", "it has no serde", "it has no function",
		"the size must be positive", `two are for "effects"`,
	} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Validate does not say %q: %v", part, err)
		}
	}
	if err := (sqlsink.Config{DB: new(sql.DB), Dialect: sqlsink.Postgres, Writers: writers()}).Validate(); err != nil {
		t.Errorf("a good configuration: %v", err)
	}
}

// What cannot be written is refused at the start.
func TestNoWriter(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	for name, test := range map[string]struct {
		writers []sqlsink.Writer
		err     error
		says    string
	}{
		"none for the dead letters": {writers()[:2], sqlsink.ErrNoWriter, "dlq; a database has no topics"},
		"one too many": {append(writers(), sqlsink.Write("efects", serde.String(), func(context.Context, *sql.Tx, *pipeline.Record[string]) error {
			return nil
		})), pipeline.ErrInvalid, "efects"},
	} {
		c := cluster(newPipeline())
		err := c.Run(t.Context(), newPipeline(), pipelinetest.Into(func() pipeline.Sink {
			return sqlsink.New(sqlsink.Config{DB: db, Dialect: sqlsink.SQLite, Writers: test.writers})
		}))
		if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: %v, want %v that says %q", name, err, test.err, test.says)
		}
	}
}

// deaf is a source that does not ask where to begin.
type deaf struct{ pipeline.Source }

func (s deaf) Open(ctx context.Context, spec pipeline.Spec) (pipeline.Terms, error) {
	terms, err := s.Source.Open(ctx, spec)
	terms.AsksStart = false
	return terms, err
}

// A source that does not ask where to begin can have at least once, and no more.
func TestGuarantee(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	c := cluster(newPipeline())
	source, _ := c.Ends()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := pipeline.Run(ctx, newPipeline(), deaf{source}, newSink(db))
	if !errors.Is(err, pipeline.ErrGuarantee) {
		t.Errorf("Run: %v, want ErrGuarantee", err)
	}
}

func TestAtLeastOnce(t *testing.T) {
	var db *sql.DB
	var want []string
	pipelinetest.EveryStep(t, pipelinetest.Scenario{
		Build: newPipeline,
		Feed: func(c *pipelinetest.Cluster) {
			db = newDB(t, nil)
			want = feed(c, 6)
		},
		Options: []pipelinetest.Option{
			pipelinetest.Into(func() pipeline.Sink { return newSink(db) }), often, pipelinetest.Engine(pipeline.Require(pipeline.AtLeastOnce)),
		},
		AtLeastOnce: true, OnlyCheck: true, Occurrences: 1,
		Check: func(*pipelinetest.Cluster) error {
			got, err := values(db, "SELECT DISTINCT value FROM effects ORDER BY value")
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("got %q, want %q", got, want)
			}
			letters, failed := values(db, "SELECT DISTINCT value FROM letters")
			if len(letters) != 2 {
				err = errors.Join(err, failed, fmt.Errorf("dead letters: %q, want 2", letters))
			}
			return errors.Join(err, db.Close())
		},
	})
}

// The group hears of the positions, and of those that it has missed when a partition
// begins; it decides nothing.
func TestGroupIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t, nil)
		defer db.Close()
		c := cluster(newPipeline())
		want := feed(c, 12)
		c.OnStep(func(_ context.Context, e pipelinetest.Event) error {
			if e.Step == pipelinetest.StepTell && e.When == pipelinetest.Before && e.Worker == "silent" {
				return errors.New("no coordinator")
			}
			return nil
		})
		p := newPipeline()
		w := c.Start(t.Context(), p, into(db), often, pipelinetest.Instance("silent"))
		time.Sleep(time.Minute)
		if err := w.Stop(); err != nil {
			t.Fatal(err)
		}
		if err := check(db, want, 2); err != nil {
			t.Error(err)
		}
		// The group knows nothing, the database everything: there is nothing to read, and
		// what the group is told is where the database is.
		pipelinetest.Run(t, newPipeline(), c, into(db), often)
		if got := c.Committed("test")[part]; got != 12 {
			t.Errorf("the group has %d, want 12", got)
		}
		if err := check(db, want, 2); err != nil {
			t.Error(err)
		}
	})
}

// Many records that are refused cost two aborts, not one each, and the others are written.
func TestManyRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t, nil)
		defer db.Close()
		p := newPipeline()
		c := cluster(p)
		var want []string
		for i := range 100 {
			v := fmt.Sprintf("%03d", i)
			if i%2 == 1 {
				v = "bad" + v
			} else {
				want = append(want, v)
			}
			c.Feed("in", pipelinetest.Text(v, v).On(0))
		}
		s := pipelinetest.Run(t, p, c, into(db))
		if err := check(db, want, 50); err != nil {
			t.Error(err)
		}
		if s.Aborts > 4 {
			t.Errorf("%d aborts for 50 refused records, want a few", s.Aborts)
		}
	})
}

// More than fits in memory is written as it comes; what is refused then is found, too.
func TestLargeTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t, nil)
		defer db.Close()
		p := newPipeline()
		c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 2)})
		const n = 1000
		want := feed(c, n)
		bad := 0
		for i := range n {
			if i%7 == 5 {
				bad += 2
			}
		}
		pipelinetest.Run(t, p, c, into(db))
		if err := check(db, want, bad); err != nil {
			t.Error(err)
		}
	})
}

// failing returns a sink whose writer of effects does something wrong.
func failing(db *sql.DB, write func(ctx context.Context, tx *sql.Tx, v string) error) pipelinetest.Option {
	return pipelinetest.Into(func() pipeline.Sink {
		ws := writers()
		ws[0] = sqlsink.Write("effects", serde.String(), func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[string]) error {
			return write(ctx, tx, r.Value)
		})
		return sqlsink.New(sqlsink.Config{DB: db, Dialect: sqlsink.SQLite, Writers: ws, Timeout: time.Second})
	})
}

// What a write function may do wrong ends where it should.
func TestWriteFunctions(t *testing.T) {
	insert := func(ctx context.Context, tx *sql.Tx, v string) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO effects VALUES (?)", v)
		return err
	}
	tries := 0
	for name, test := range map[string]struct {
		write   func(ctx context.Context, tx *sql.Tx, v string) error
		err     error // of the run
		letters int
	}{
		"a panic is the record's":   {write: func(context.Context, *sql.Tx, string) error { panic("no") }, letters: 1},
		"an error is the record's":  {write: func(context.Context, *sql.Tx, string) error { return errors.New("no") }, letters: 1},
		"a fatal one is everyone's": {write: func(context.Context, *sql.Tx, string) error { return pipeline.Fatal(checksql.ErrLost) }, err: checksql.ErrLost},
		"one that passes is tried again": {write: func(ctx context.Context, tx *sql.Tx, v string) error {
			if tries++; tries < 3 {
				return pipeline.Retriable(errors.New("not yet"))
			}
			return insert(ctx, tx, v)
		}},
		"a wait ends": {write: func(ctx context.Context, tx *sql.Tx, v string) error {
			if tries++; tries < 3 {
				<-ctx.Done()
				return ctx.Err()
			}
			return insert(ctx, tx, v)
		}},
		"the transaction is not its to end": {write: func(ctx context.Context, tx *sql.Tx, v string) error {
			return errors.Join(insert(ctx, tx, v), tx.Commit())
		}, err: sqlsink.ErrEnded},
		"an error that it swallows": {write: func(ctx context.Context, tx *sql.Tx, v string) error {
			_, _ = tx.ExecContext(ctx, "INSERT INTO effects VALUES ('bad')")
			return insert(ctx, tx, v)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tries = 0
				db := newDB(t, nil)
				defer db.Close()
				p := newPipeline()
				c := cluster(p)
				c.Feed("in", pipelinetest.Text("x", "x").On(0))
				began := time.Now()
				err := c.Run(t.Context(), p, failing(db, test.write))
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v; a wait should end within a second", took)
				}
				if !errors.Is(err, test.err) || test.err == nil && err != nil {
					t.Fatalf("Run: %v, want %v", err, test.err)
				}
				if test.err != nil {
					return
				}
				letters, _ := values(db, "SELECT value FROM letters")
				effects, _ := values(db, "SELECT value FROM effects")
				if len(letters) != test.letters || len(effects) != 1-test.letters {
					t.Errorf("%d letters and %d effects, want %d and %d", len(letters), len(effects), test.letters, 1-test.letters)
				}
			})
		})
	}
}

// A constraint that is checked at the COMMIT would be violated again and again.
func TestDeferredConstraint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := newDB(t, nil)
		defer db.Close()
		if _, err := db.Exec("CREATE TABLE parents (id TEXT PRIMARY KEY); CREATE TABLE children (id TEXT REFERENCES parents DEFERRABLE INITIALLY DEFERRED)"); err != nil {
			t.Fatal(err)
		}
		p := newPipeline()
		c := cluster(p)
		c.Feed("in", pipelinetest.Text("x", "x").On(0))
		err := c.Run(t.Context(), p, failing(db, func(ctx context.Context, tx *sql.Tx, v string) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO children VALUES (?)", v)
			return err
		}))
		if err == nil || !strings.Contains(err.Error(), "refuses the sink's own") {
			t.Errorf("Run: %v, want that the database refuses it", err)
		}
	})
}

// The settings in force are shown, secrets are not among them.
func TestSettings(t *testing.T) {
	got := fmt.Sprint(newSink(nil).Settings("test"))
	for _, part := range []string{"SQLite", "effects, lengths, dlq", "leat_offsets", "10s"} {
		if !strings.Contains(got, part) {
			t.Errorf("the settings lack %q: %s", part, got)
		}
	}
}
