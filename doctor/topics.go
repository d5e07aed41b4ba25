package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/pipeline"
)

// From these versions of Metadata and DescribeGroups on, brokers tell what a user may do
// (KIP-430, Kafka 2.3).
const (
	kip430       = 8
	kip430Groups = 3
)

// topicsExist asks for the topics, and for their settings. Those that can be looked at
// further are kept.
func (e *exam) topicsExist(ctx context.Context) {
	e.topics = map[string]*sarama.TopicMetadata{}
	all := append(e.Settings.topics(), e.internal()...)
	resp, err := e.client.Inspect(ctx, all)
	if err == nil && slices.ContainsFunc(resp.Topics, func(t *sarama.TopicMetadata) bool {
		return t.Err == sarama.ErrUnknownTopicOrPartition && !slices.Contains(e.internal(), t.Name)
	}) {
		select { // a broker may not know yet what was created just now
		case <-time.After(pipeline.Backoff{}.Wait(0)):
			resp, err = e.client.Inspect(ctx, all)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		e.find(CheckTopics, "", Fault, "look at the brokers' logs", "the cluster does not tell its topics: %s", line(err))
		return
	}
	e.rights, e.onTheAll = resp.Version >= kip430, resp.ClusterAuthorizedOperations
	var exist []string
	for _, t := range resp.Topics {
		switch {
		case slices.Contains(e.internal(), t.Name):
			e.internalReplication(t)
		case t.Err == sarama.ErrNoError || t.Err == sarama.ErrLeaderNotAvailable:
			e.topics[t.Name] = t
			exist = append(exist, t.Name)
			e.partitionsServe(t)
		case t.Err == sarama.ErrUnknownTopicOrPartition:
			e.find(CheckTopics, t.Name, Fault, e.create(t.Name), "it does not exist; Leat never creates one by accident")
		case cluster.IsAuth(t.Err):
			e.find(CheckACLs, t.Name, Fault, e.allow(e.operation(t.Name), "--topic "+t.Name), "the user may not even see the topic")
		default:
			e.find(CheckTopics, t.Name, Fault, "", "%s", line(t.Err))
		}
	}
	e.settings, e.refused = e.client.TopicSettings(ctx, exist)
}

// operation is what the program does to a topic first of all.
func (e *exam) operation(topic string) string {
	if slices.Contains(e.Outputs, topic) {
		return "Write"
	}
	return "Read"
}

func (e *exam) create(topic string) string {
	if !slices.Contains(e.Outputs, topic) {
		return "correct the name, or create what writes to it first"
	}
	return e.tool("kafka-topics.sh", "--create --topic %s --partitions N --replication-factor 3 --config min.insync.replicas=2", topic)
}

// partitionsServe looks for partitions without a leader and for replicas that lag.
func (e *exam) partitionsServe(t *sarama.TopicMetadata) {
	var leaderless, lagging []string
	for _, p := range t.Partitions {
		switch {
		case p.Leader < 0:
			leaderless = append(leaderless, fmt.Sprint(p.ID))
		case len(p.Isr) < len(p.Replicas):
			lagging = append(lagging, fmt.Sprintf("%d (%d of %d)", p.ID, len(p.Isr), len(p.Replicas)))
		}
	}
	if len(leaderless) > 0 {
		e.find(CheckTopics, t.Name, Fault, "start the brokers that hold them", "partitions without a leader, which nobody can read or write: %s", some(leaderless))
	}
	if len(lagging) > 0 {
		e.find(CheckTopics, t.Name, Warning, "find out which broker is down or slow; one more failure may block writes",
			"partitions with fewer replicas in sync than they have: %s", some(lagging))
	}
	if len(leaderless) == 0 && len(lagging) == 0 {
		e.ok(CheckTopics, t.Name, "%d partitions, all with a leader and all replicas in sync", len(t.Partitions))
	}
}

// some lists what may be many.
func some(list []string) string {
	const most = 10
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}
