package doctor

import (
	"slices"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/sinks/kafka"
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
			{slices.Concat(e.Inputs, e.Tables, e.stateTopics()), sarama.AclOperationRead, "Read"},
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
	e.idempotentWrite()
}

// idempotentWrite looks for the right that older brokers ask of an idempotent producer
// without transactions.
func (e *exam) idempotentWrite() {
	older := slices.ContainsFunc(e.nodes, func(n node) bool {
		_, known := n.versions[apiDescribeCluster]
		return !known
	})
	if !older || len(e.Outputs) == 0 || e.transactional() || e.producer.Idempotence != kafka.IdempotenceOn {
		return
	}
	switch {
	case !mayNot(e.onTheAll, sarama.AclOperationIdempotentWrite):
	case mayNot(e.onTheAll, sarama.AclOperationDescribe):
		e.find(CheckACLs, "", NotVisible, e.allow("Describe", "--cluster"), "brokers before 2.8 ask for IdempotentWrite on the cluster, and do not tell whether the user has it")
	default:
		e.find(CheckACLs, "", Fault, e.allow("IdempotentWrite", "--cluster"), "the user has no right IdempotentWrite on the cluster, which brokers before 2.8 ask of an idempotent producer")
	}
}

// mayAll tells that the user may do everything, as where there are no rules of access:
// then there is no need to ask for what brokers do not tell.
func (e *exam) mayAll() bool {
	return e.rights && !slices.ContainsFunc([]sarama.AclOperation{
		sarama.AclOperationCreate, sarama.AclOperationAlter, sarama.AclOperationDescribe, sarama.AclOperationClusterAction,
		sarama.AclOperationDescribeConfigs, sarama.AclOperationAlterConfigs, sarama.AclOperationIdempotentWrite,
	}, func(op sarama.AclOperation) bool { return mayNot(e.onTheAll, op) })
}

// groupRights says whether the user may read as the group.
func (e *exam) groupRights(g *sarama.GroupDescription) {
	name := e.Config.Group
	switch {
	case e.mayAll():
		e.ok(CheckACLs, name, "the user may do everything")
	case g == nil:
		e.find(CheckACLs, name, NotVisible, "look again when the cluster has had a group", "the user may see the group; whether it has the right Read, no broker tells before there is a coordinator")
	case g.Version < kip430Groups:
		e.find(CheckACLs, name, NotVisible, "", "the user may see the group; brokers tell whether it has the right Read from Kafka 2.3 on")
	case mayNot(g.AuthorizedOperations, sarama.AclOperationRead):
		e.find(CheckACLs, name, Fault, e.allow("Read", "--group "+name), "the user has no right Read on the group")
	default:
		e.ok(CheckACLs, name, "the user has the right Read on the group")
	}
}

// transactionalRights says what is known of a transactional id that the user may see.
func (e *exam) transactionalRights(id string) {
	if e.mayAll() {
		e.ok(CheckACLs, id, "the user may do everything")
		return
	}
	e.find(CheckACLs, id, NotVisible, "", "the user has the right Describe on the transactional id; brokers do not tell whether it has Write, too, which it needs")
}
