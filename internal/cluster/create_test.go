package cluster_test

import (
	"errors"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/internal/secure"
)

func TestCreateTopic(t *testing.T) {
	c, _, fake := open(t)
	noError(t, c.CreateTopic(t.Context(), "new", sarama.TopicDetail{NumPartitions: 3}), "create")
	if n := len(fake.PartitionInfos("new")); n != 3 {
		t.Errorf("%d partitions, want 3", n)
	}
	noError(t, c.CreateTopic(t.Context(), "new", sarama.TopicDetail{NumPartitions: 5}), "create again")
	if n := len(fake.PartitionInfos("new")); n != 3 {
		t.Errorf("%d partitions, want those that were there, 3", n)
	}
	noError(t, c.CreateTopic(t.Context(), "default", sarama.TopicDetail{}), "create with defaults")
}

// The topic is there and its leaders are not, for two questions.
func TestCreateTopicWaitsForLeaders(t *testing.T) {
	c, _, fake := open(t)
	asked := 0
	fake.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		req := r.(*kmsg.MetadataRequest)
		if len(req.Topics) != 1 {
			return nil, nil, false
		}
		if asked++; asked > 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = req.Topics[0].Topic
		part := kmsg.NewMetadataResponseTopicPartition()
		part.ErrorCode = kerr.LeaderNotAvailable.Code
		topic.Partitions = append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	noError(t, c.CreateTopic(t.Context(), "new", sarama.TopicDetail{}), "create")
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

// The controller moves: it is asked again.
func TestCreateTopicAsksAgain(t *testing.T) {
	c, _, fake := open(t)
	asked := 0
	fake.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		if asked++; asked > 2 {
			return nil, nil, false
		}
		fake.KeepControl()
		return refuse(r, kerr.NotController), nil, true
	})
	noError(t, c.CreateTopic(t.Context(), "new", sarama.TopicDetail{}), "create")
	if asked != 3 {
		t.Errorf("asked %d times, want 3", asked)
	}
}

func refuse(r kmsg.Request, err *kerr.Error) kmsg.Response {
	req := r.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	topic := kmsg.NewCreateTopicsResponseTopic()
	topic.Topic, topic.ErrorCode = req.Topics[0].Topic, err.Code
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func TestCreateTopicRefused(t *testing.T) {
	c, _, fake := open(t)
	answer := kerr.TopicAuthorizationFailed
	fake.ControlKey(int16(kmsg.CreateTopics), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		return refuse(r, answer), nil, true
	})
	err := c.CreateTopic(t.Context(), "new", sarama.TopicDetail{})
	if denied, ok := errors.AsType[*secure.AuthorizationError](err); !ok || denied.Operation != secure.Create || denied.Resource != "new" {
		t.Errorf("error %v, want a missing right to create topic new", err)
	}
	answer = kerr.InvalidReplicationFactor
	if err := c.CreateTopic(t.Context(), "new", sarama.TopicDetail{}); !errors.Is(err, sarama.ErrInvalidReplicationFactor) {
		t.Errorf("error %v, want %v", err, sarama.ErrInvalidReplicationFactor)
	}
}
