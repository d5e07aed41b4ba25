package sqltable_test

import (
	"context"
	"database/sql"
	"fmt"

	_ "modernc.org/sqlite"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/stages"
	sqltable "github.com/leat-stream/leat/tables/sql"
)

func Example() {
	db, err := sql.Open("sqlite", "file:example?mode=memory&cache=shared")
	if err == nil {
		defer db.Close()
		_, err = db.Exec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, 'Ada'), (2, 'Grace')")
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	users, err := sqltable.New(sqltable.Config[int, string]{
		DB: db, Dialect: sqltable.SQLite,
		Query: "SELECT id, name FROM users WHERE id IN (?)",
		Scan: func(rows *sql.Rows) (id int, name string, err error) {
			err = rows.Scan(&id, &name)
			return id, name, err
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p := pipeline.New("example", pipeline.DeadLetter("in.dlq"))
	in := pipeline.From(p, "in", serde.JSON[int]())
	named := stages.EnrichAsync(in, "user", func(id int) int { return id }, users,
		func(id int, name string) string { return fmt.Sprintf("%d is %s", id, name) }, stages.AsyncConfig{BatchSize: 100})
	pipeline.To(named, "out", serde.String())

	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	for _, id := range []int{2, 3, 1} {
		c.Feed("in", pipelinetest.Value(serde.JSON[int](), id))
	}
	if err := c.Run(context.Background(), p); err != nil {
		fmt.Println(err)
	}
	for _, topic := range []string{"out", "in.dlq"} {
		for _, r := range c.Records(topic) {
			fmt.Printf("%s: %s\n", topic, r.Value)
		}
	}
	// Output:
	// out: 2 is Grace
	// out: 1 is Ada
	// in.dlq: 3
}
