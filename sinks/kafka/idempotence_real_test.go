//go:build real

package kafka_test

import (
	"testing"

	"github.com/leat-stream/leat/sinks/kafka"
)

// What the broker's log says of the producers: numbered if idempotent, with another
// number after a restart, by which nothing of the first can be told to be a double; and a
// record that is sent again is another record.
func TestRealProducerIDs(t *testing.T) {
	c, brokers, topic := realTopic(t, 1, nil)
	send := func(key string, s kafka.ProducerSettings, times int) {
		t.Helper()
		s.Brokers = brokers
		p := c.producer(s)
		one := kafka.Record{Topic: topic, Key: []byte(key), Value: []byte("the same")}
		for range times {
			if s.TransactionalID == "" {
				_, err := p.SendSync(t.Context(), one)
				noError(t, err, key)
				continue
			}
			noError(t, p.InTransaction(t.Context(), func(tx *kafka.Transaction) error { return tx.Send(t.Context(), one, nil) }), key)
		}
		noError(t, p.Close(t.Context()), "close")
	}
	send("first", kafka.ProducerSettings{}, 2)
	send("restarted", kafka.ProducerSettings{}, 1)
	send("off", kafka.ProducerSettings{Producer: kafka.ProducerConfig{Idempotence: kafka.IdempotenceOff}}, 1)
	send("leader", kafka.ProducerSettings{Producer: kafka.ProducerConfig{Acks: kafka.AcksLeader}}, 1)
	send("transactional", kafka.ProducerSettings{TransactionalID: topic}, 1)
	send("same owner", kafka.ProducerSettings{TransactionalID: topic}, 1)
	c.AwaitVisible(topic)

	records := c.ReadAll(topic)
	same(t, "records", keys(records), []string{"first", "first", "restarted", "off", "leader", "transactional", "same owner"})
	id := func(i int) int64 { return records[i].ProducerID }
	if id(0) < 0 || id(1) != id(0) || id(2) < 0 || id(2) == id(0) {
		t.Errorf("ids of idempotent producers: %d, %d, restarted %d", id(0), id(1), id(2))
	}
	if id(3) != -1 || id(4) != -1 {
		t.Errorf("ids without idempotence: %d, %d", id(3), id(4))
	}
	if id(5) < 0 || id(6) != id(5) || records[6].ProducerEpoch <= records[5].ProducerEpoch || !records[5].Attrs.IsTransactional() || records[0].Attrs.IsTransactional() {
		t.Errorf("transactional: id %d epoch %d, after a restart %d and %d", id(5), records[5].ProducerEpoch, id(6), records[6].ProducerEpoch)
	}
}
