package doctor

// durable is how many replicas a topic should have: with two in sync asked for, one
// broker may fail and nothing is lost or blocked.
const durable = 3

// replicas is the least number of replicas of a partition of the topic.
func (e *exam) replicas(topic string) int {
	least := 0
	for i, p := range e.topics[topic].Partitions {
		if i == 0 || len(p.Replicas) < least {
			least = len(p.Replicas)
		}
	}
	return least
}

func (e *exam) replication(topic string) {
	n, brokers := e.replicas(topic), len(e.client.Nodes())
	switch {
	case n >= durable:
		e.ok(CheckReplication, topic, "replication factor %d", n)
	case brokers < durable:
		e.find(CheckReplication, topic, Fault, "add brokers until there are 3, and replicas; to live with it, as in development, accept "+CheckReplication,
			"replication factor %d on a cluster of %d; it takes 3 to lose no record and block no write when one fails", n, brokers)
	default:
		e.find(CheckReplication, topic, Fault, e.tool("kafka-reassign-partitions.sh", "--execute --reassignment-json-file FILE")+", with 3 replicas for each partition of "+topic,
			"replication factor %d; it takes 3 to lose no record and block no write when one broker fails", n)
	}
}
