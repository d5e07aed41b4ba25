package sqlsink_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
	sqlsink "github.com/leat-stream/leat/sinks/sql"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// kafkaToSQL runs the pipeline from a Kafka of its own, with values in topic in, to the
// database, until nothing is left.
func kafkaToSQL(t *testing.T, db *sql.DB, between func(brokers []string), values ...string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	fake, err := embedded.Start(embedded.Config{Topics: []embedded.Topic{{Name: "in"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	producer, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: fake.Brokers(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close(ctx)
	for _, v := range values {
		if _, err := producer.SendSync(ctx, kafka.Record{Topic: "in", Value: []byte(v)}); err != nil {
			t.Fatal(err)
		}
	}
	if between != nil {
		between(fake.Brokers())
	}
	source := kafkasource.New(kafkasource.Config{Brokers: fake.Brokers(), UntilEnd: true, Logger: slog.New(slog.DiscardHandler)})
	return pipeline.Run(ctx, newPipeline(), source, newSink(db), pipeline.Logger(slog.New(slog.DiscardHandler)))
}

// From Kafka it begins where the database says, and ends although the group has not heard
// of it. A topic of the same name that is another one is refused.
func TestFromKafka(t *testing.T) {
	db := newDB(t, nil)
	defer db.Close()
	again := func(brokers []string) {
		source := kafkasource.New(kafkasource.Config{Brokers: brokers, Group: "other", UntilEnd: true})
		if err := pipeline.Run(t.Context(), newPipeline(), source, newSink(db), pipeline.Logger(slog.New(slog.DiscardHandler))); err != nil {
			t.Error(err)
		}
		// The positions of group test are where those of the other group are.
		if _, err := db.Exec("UPDATE leat_offsets SET consumer_group = 'test', next_offset = 2"); err != nil {
			t.Error(err)
		}
	}
	if err := kafkaToSQL(t, db, again, "one", "two", "three"); err != nil {
		t.Fatal(err)
	}
	got, err := values(db, "SELECT value FROM effects ORDER BY rowid")
	if want := "[one two three three]"; err != nil || len(got) != 4 || got[3] != "three" {
		t.Errorf("effects: %q (%v), want %s: the last one again, for the second group", got, err, want)
	}
	if err := kafkaToSQL(t, db, nil, "of another topic"); !errors.Is(err, sqlsink.ErrReplaced) {
		t.Errorf("another topic of that name: %v, want ErrReplaced", err)
	}
}
