package doctor

import (
	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
)

// durable is how many replicas a topic should have: with two in sync asked for, one
// broker may fail and nothing is lost or blocked.
const durable = 3

// internal are the topics in which the cluster keeps what exactly once rests on.
func (e *exam) internal() (out []string) {
	if e.Config.Group != "" {
		out = append(out, "__consumer_offsets")
	}
	if e.transactional() {
		out = append(out, "__transaction_state")
	}
	return out
}

// internalReplication looks at an internal topic. One that does not exist is created
// when it is first needed.
func (e *exam) internalReplication(t *sarama.TopicMetadata) {
	switch n, brokers := replicas(t), len(e.client.Nodes()); {
	case t.Err == sarama.ErrUnknownTopicOrPartition:
	case cluster.IsAuth(t.Err):
		e.find(CheckReplication, t.Name, NotVisible, e.allow("Describe", "--topic "+t.Name), "how many replicas it has cannot be seen: %s", line(t.Err))
	case t.Err != sarama.ErrNoError:
		e.find(CheckReplication, t.Name, NotVisible, "", "how many replicas it has cannot be seen: %s", line(t.Err))
	default:
		e.judgeReplication(t.Name, n, brokers)
	}
}

// replicas is the least number of replicas of a partition of the topic.
func (e *exam) replicas(topic string) int { return replicas(e.topics[topic]) }

func replicas(t *sarama.TopicMetadata) int {
	least := 0
	for i, p := range t.Partitions {
		if i == 0 || len(p.Replicas) < least {
			least = len(p.Replicas)
		}
	}
	return least
}

func (e *exam) replication(topic string) {
	e.judgeReplication(topic, e.replicas(topic), len(e.client.Nodes()))
}

func (e *exam) judgeReplication(topic string, n, brokers int) {
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
