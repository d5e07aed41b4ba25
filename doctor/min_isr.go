package doctor

import (
	"slices"
	"strconv"

	"github.com/leat-stream/leat/sinks/kafka"
)

// apiProduceCapped is the version of Produce that came with Kafka 3.7, from which on
// brokers ask for no more replicas in sync than there are (KAFKA-15583).
const apiProduceCapped = 10

// minISR compares min.insync.replicas with acks and the replication factor. With a
// single replica there is nothing to compare: replication says so.
func (e *exam) minISR(topic string) {
	if e.producer.Acks != kafka.AcksAll {
		e.ok(CheckMinISR, topic, "not asked for with acks=%v", e.producer.Acks)
		return
	}
	value, ok := e.setting(CheckMinISR, topic, "min.insync.replicas")
	if !ok {
		return
	}
	least, err := strconv.Atoi(value)
	if err != nil {
		e.find(CheckMinISR, topic, NotVisible, "", "min.insync.replicas is %q, which is not a number", value)
		return
	}
	n := e.replicas(topic)
	older := slices.ContainsFunc(e.nodes, func(n node) bool { return n.versions[apiProduce] < apiProduceCapped })
	switch {
	case least > n && older:
		e.find(CheckMinISR, topic, Fault, e.setMinISR(topic, n), "min.insync.replicas=%d of %d replicas: brokers before Kafka 3.7 refuse every write with acks=all", least, n)
	case n < 2:
		e.ok(CheckMinISR, topic, "a single replica")
	case least <= 1:
		e.find(CheckMinISR, topic, Fault, e.setMinISR(topic, n), "min.insync.replicas=%d of %d replicas: acks=all degrades to acks=1 when the other replicas have fallen behind; what the leader alone has acknowledged is lost with it", least, n)
	case least >= n:
		e.find(CheckMinISR, topic, Fault, e.setMinISR(topic, n), "min.insync.replicas=%d of %d replicas: one broker that is down blocks writes", least, n)
	default:
		e.ok(CheckMinISR, topic, "min.insync.replicas=%d of %d replicas", least, n)
	}
}

// setMinISR is what to change. With two replicas no value is right: 1 is unsafe and 2
// blocks.
func (e *exam) setMinISR(topic string, replicas int) string {
	change := e.setTopic(topic, "min.insync.replicas=2")
	if replicas < durable {
		return "give the topic 3 replicas, and " + change
	}
	return change
}
