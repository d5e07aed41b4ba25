package doctor

import (
	"slices"

	"github.com/IBM/sarama"
)

// apiDescribeCluster came with Kafka 2.8, as did the rule that who may write to a topic
// may do so idempotently (KIP-679).
const apiDescribeCluster = 60

// mayNot tells that a bit field of KIP-430 lacks an operation.
func mayNot(rights int32, op sarama.AclOperation) bool { return rights>>op&1 == 0 }

// topicRights compares what the user may do to topics and the cluster with what the
// program will do. Brokers tell that of the asking user, whatever rules it comes from, to
// anyone who may see the topic.
func (e *exam) topicRights() {
	if !e.rights {
		e.find(CheckACLs, "", NotVisible, "", "brokers tell what a user may do from Kafka 2.3 on")
		return
	}
	for _, topic := range e.Settings.topics() {
		t := e.topics[topic]
		if t == nil {
			continue
		}
		lacks := false
		for _, want := range []struct {
			of   []string
			op   sarama.AclOperation
			name string
		}{
			{e.Outputs, sarama.AclOperationWrite, "Write"},
			{slices.Concat(e.Inputs, e.Tables), sarama.AclOperationRead, "Read"},
		} {
			if slices.Contains(want.of, topic) && mayNot(t.TopicAuthorizedOperations, want.op) {
				lacks = true
				e.find(CheckACLs, topic, Fault, e.allow(want.name, "--topic "+topic), "the user has no right %s on the topic", want.name)
			}
		}
		if !lacks {
			e.ok(CheckACLs, topic, "the user has the rights it needs")
		}
	}
	if len(e.Outputs) > 0 && !e.transactional() && e.needsIdempotentWrite() && mayNot(e.onTheAll, sarama.AclOperationIdempotentWrite) {
		e.find(CheckACLs, "", Fault, e.allow("IdempotentWrite", "--cluster"), "the user has no right IdempotentWrite on the cluster, which brokers before 2.8 ask of an idempotent producer")
	}
}

func (e *exam) needsIdempotentWrite() bool {
	return len(e.needs()) > 1 && slices.ContainsFunc(e.nodes, func(n node) bool {
		_, known := n.versions[apiDescribeCluster]
		return !known
	})
}
