package sqlsink_test

import (
	"context"
	"database/sql"
	"fmt"

	_ "modernc.org/sqlite"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
)

type payment struct {
	Account string
	Cents   int64
}

// Payments are added to accounts: an effect that must not come twice. What the database
// refuses is kept as a dead letter, in the same transaction.
func Example() {
	db, err := sql.Open("sqlite", "file:payments?mode=memory&cache=shared")
	if err == nil {
		defer db.Close()
		_, err = db.Exec(`
			CREATE TABLE accounts (id TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));
			CREATE TABLE refused (account TEXT, reason TEXT);
			INSERT INTO accounts VALUES ('a', 0), ('b', 100)`)
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	payments := serde.JSON[payment]()
	p := pipeline.New("accounts", pipeline.DeadLetter("refused"))
	pipeline.To(pipeline.From(p, "payments", payments), "accounts", payments)

	add := func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[payment]) error {
		_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + ? WHERE id = ?", r.Value.Cents, r.Value.Account)
		return err
	}
	refuse := func(ctx context.Context, tx *sql.Tx, r *pipeline.Record[payment]) error {
		stage, _ := r.Headers.Get(pipeline.HeaderStage)
		_, err := tx.ExecContext(ctx, "INSERT INTO refused VALUES (?, ?)", r.Value.Account, "refused by "+string(stage))
		return err
	}

	c := pipelinetest.For(p) // in the place of kafkasource.New(kafkasource.Config{Brokers: brokers})
	for _, x := range []payment{{"a", 30}, {"b", -70}, {"b", -70}, {"a", 12}} {
		c.Feed("payments", pipelinetest.Value(payments, x).Key(x.Account))
	}
	err = c.Run(context.Background(), p, pipelinetest.Into(func() pipeline.Sink {
		return sqlsink.New(sqlsink.Config{
			DB: db, Dialect: sqlsink.SQLite,
			Writers: []sqlsink.Writer{sqlsink.Write("accounts", payments, add), sqlsink.Write("refused", payments, refuse)},
		})
	}))
	if err != nil {
		fmt.Println(err)
	}
	got, err := values(db, `SELECT id || ' has ' || cents FROM accounts
		UNION ALL SELECT account || ': ' || reason FROM refused
		UNION ALL SELECT SUM(next_offset) || ' records read' FROM leat_offsets`)
	for _, line := range got {
		fmt.Println(line)
	}
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// a has 42
	// b has 30
	// b: refused by accounts
	// 4 records read
}
