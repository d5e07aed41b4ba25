package sqlsink_test

import (
	"context"
	"database/sql"
	"testing"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

// The sink itself allocates nothing for a record: what is counted here, for 2,000 records in
// one transaction, are the transaction and its positions.
func TestAllocations(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	nothing := func(context.Context, *sql.Tx, *pipeline.Record[[]byte]) error { return nil }
	s := opened(t, sqlsink.New(sqlsink.Config{DB: db, Dialect: sqlsink.SQLite, Writers: []sqlsink.Writer{
		sqlsink.Write("effects", serde.Bytes(), nothing), sqlsink.Write("dlq", serde.Bytes(), nothing),
		sqlsink.WriteBatch("lengths", serde.Bytes(), 500, func(context.Context, *sql.Tx, []pipeline.Record[[]byte]) error { return nil }),
	}}))
	take(t, s, 0)
	outputs := make([]pipeline.Output, 250)
	for i := range outputs {
		outputs[i] = pipeline.Output{Topic: []string{"effects", "lengths"}[i%2], Value: []byte("value")}
	}
	ctx, next := context.Background(), int64(0)
	n := testing.AllocsPerRun(20, func() {
		next += 2000
		if err := s.Begin(ctx); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			if err := s.Send(ctx, outputs); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.SendOffsets(ctx, []pipeline.Offset{{Partition: part, Next: next}}, pipeline.GroupMetadata{Group: group}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	})
	t.Logf("%.0f allocations for a transaction of 2,000 records", n)
	if n > 2000*0.2 {
		t.Errorf("%.0f allocations for 2,000 records, more than docs/stages.md says", n)
	}
}
