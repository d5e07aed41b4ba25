package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/wire"
)

// Abilities are what a broker can do.
type Abilities struct {
	// Requests are those that it takes: by API key, up to which version.
	Requests map[int16]int16
	// Transactions is the version of transactions, and 0 before Kafka 4.0 (KIP-890).
	Transactions wire.Feature
}

// AbilitiesOf asks one broker what it can do. It needs no right. Its error says so if the
// listener wants TLS or SASL.
func AbilitiesOf(ctx context.Context, cfg Config, addr string) (Abilities, error) {
	w := wire.Config{Connection: cfg.Sarama(), SASL: cfg.SASL, MaxInFlight: 1, RequestTimeout: requestTimeout, DialTimeout: 2 * time.Second}
	out, err := abilities(ctx, &w, addr)
	if err != nil && !isAuth(err) {
		if found := w.Diagnose(ctx, addr); found != nil {
			return out, found
		}
	}
	return out, err
}

func abilities(ctx context.Context, w *wire.Config, addr string) (out Abilities, err error) {
	conn, err := w.Open(ctx, addr)
	if err != nil {
		return out, err
	}
	defer conn.Close()
	out.Requests = map[int16]int16{}
	err = conn.Ask(ctx, func(b *sarama.Broker) error {
		resp, err := b.ApiVersions(&sarama.ApiVersionsRequest{})
		if err != nil {
			return err
		}
		if code := sarama.KError(resp.ErrorCode); code != sarama.ErrNoError {
			return code
		}
		for _, k := range resp.ApiKeys {
			out.Requests[k.ApiKey] = k.MaxVersion
		}
		return nil
	})
	if err == nil {
		out.Transactions, err = conn.Feature(ctx, wire.TransactionVersion)
	}
	return out, err
}

// Nodes returns the address of each broker that the cluster names, by its id.
func (c *Client) Nodes() map[int32]string {
	c.at.mu.Lock()
	defer c.at.mu.Unlock()
	return maps.Clone(c.at.brokers)
}

// Inspect asks for topics with what the user may do to them (KIP-430, Kafka 2.3). The
// response's version says whether the broker told.
func (c *Client) Inspect(ctx context.Context, topics []string) (*sarama.MetadataResponse, error) {
	answers := make(chan *sarama.MetadataResponse, 1)
	err := c.any(ctx, func(b *sarama.Broker) error {
		resp, err := b.GetMetadata(&sarama.MetadataRequest{
			Version: 8, Topics: topics, IncludeTopicAuthorizedOperations: true, IncludeClusterAuthorizedOperations: true,
		})
		if err == nil {
			select {
			case answers <- resp:
			default:
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	resp := <-answers
	c.at.learn(resp)
	return resp, nil
}

// Settings are the effective settings of a topic or a broker, or why they cannot be
// seen.
type Settings struct {
	Values map[string]string
	Err    error
}

// TopicSettings asks for topics' effective settings. It needs DescribeConfigs on each.
func (c *Client) TopicSettings(ctx context.Context, topics []string) (map[string]Settings, error) {
	if len(topics) == 0 {
		return nil, nil
	}
	answers := make(chan map[string]Settings, 1)
	err := c.any(ctx, func(b *sarama.Broker) error {
		got, err := describe(b, sarama.TopicResource, topics)
		if err == nil {
			select {
			case answers <- got:
			default:
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return <-answers, nil
}

// BrokerSettings asks a broker for its own settings. It needs DescribeConfigs on the
// cluster.
func (c *Client) BrokerSettings(ctx context.Context, id int32, addr string) (Settings, error) {
	name := fmt.Sprint(id)
	got, err := ask(ctx, c, addr, func(b *sarama.Broker) (map[string]Settings, error) {
		return describe(b, sarama.BrokerResource, []string{name})
	})
	return got[name], err
}

func describe(b *sarama.Broker, kind sarama.ConfigResourceType, names []string) (map[string]Settings, error) {
	req := &sarama.DescribeConfigsRequest{Version: 2}
	for _, name := range names {
		req.Resources = append(req.Resources, &sarama.ConfigResource{Type: kind, Name: name})
	}
	resp, err := b.DescribeConfigs(req)
	if err != nil {
		return nil, err
	}
	out := map[string]Settings{}
	for _, r := range resp.Resources {
		s := Settings{Values: map[string]string{}}
		if code := sarama.KError(r.ErrorCode); code != sarama.ErrNoError {
			s.Err = code
		}
		for _, entry := range r.Configs {
			s.Values[entry.Name] = entry.Value
		}
		out[r.Name] = s
	}
	for _, name := range names {
		if _, ok := out[name]; !ok {
			return nil, errNoAnswer
		}
	}
	return out, nil
}

// DescribeGroup asks for a group, its members and what the user may do to it. The
// answer is nil if no broker coordinates it, as in a cluster that never had a group.
func (c *Client) DescribeGroup(ctx context.Context, group string) (*sarama.GroupDescription, error) {
	return atWhoeverCoordinates(ctx, c, func(b *sarama.Broker) (*sarama.GroupDescription, error) {
		resp, err := b.DescribeGroups(&sarama.DescribeGroupsRequest{Version: 4, Groups: []string{group}, IncludeAuthorizedOperations: true})
		switch {
		case err != nil:
			return nil, err
		case len(resp.Groups) != 1:
			return nil, errNoAnswer
		case resp.Groups[0].Err != sarama.ErrNoError:
			return nil, resp.Groups[0].Err
		}
		return resp.Groups[0], nil
	})
}

// DescribeNewGroup is DescribeGroup for groups of the protocol of KIP-848 (Kafka 4.0).
// The answer is nil if the group is not one of them.
func (c *Client) DescribeNewGroup(ctx context.Context, group string) (*sarama.ConsumerGroupDescription, error) {
	return atWhoeverCoordinates(ctx, c, func(b *sarama.Broker) (*sarama.ConsumerGroupDescription, error) {
		resp, err := b.ConsumerGroupDescribe(&sarama.ConsumerGroupDescribeRequest{GroupIDs: []string{group}})
		switch {
		case err != nil:
			return nil, err
		case len(resp.Groups) != 1:
			return nil, errNoAnswer
		case resp.Groups[0].ErrorCode == sarama.ErrGroupIDNotFound:
			return nil, nil
		case resp.Groups[0].ErrorCode != sarama.ErrNoError:
			return nil, resp.Groups[0].ErrorCode
		}
		return &resp.Groups[0], nil
	})
}

// errTransactionalIDNotFound is TRANSACTIONAL_ID_NOT_FOUND, for which sarama has no name.
const errTransactionalIDNotFound sarama.KError = 105

// DescribeTransaction asks for a transactional id (Kafka 3.0). The answer is nil if
// nobody has used it.
func (c *Client) DescribeTransaction(ctx context.Context, id string) (*sarama.TransactionState, error) {
	return atWhoeverCoordinates(ctx, c, func(b *sarama.Broker) (*sarama.TransactionState, error) {
		resp, err := b.DescribeTransactions(&sarama.DescribeTransactionsRequest{TransactionalIDs: []string{id}})
		switch {
		case err != nil:
			return nil, err
		case len(resp.TransactionStates) != 1:
			return nil, errNoAnswer
		}
		switch state := &resp.TransactionStates[0]; state.ErrorCode {
		case sarama.ErrNoError:
			return state, nil
		case errTransactionalIDNotFound:
			return nil, nil
		default:
			return nil, state.ErrorCode
		}
	})
}

// atWhoeverCoordinates calls f with each broker until one does not say that another
// is the coordinator: to ask who it is would have a cluster create its internal
// topics. Nil if all say so. If one does not answer, it may be that one.
func atWhoeverCoordinates[T any](ctx context.Context, c *Client, f func(*sarama.Broker) (*T, error)) (*T, error) {
	nodes := c.Nodes()
	var silent error
	for _, id := range slices.Sorted(maps.Keys(nodes)) {
		var refused error
		out, err := ask(ctx, c, nodes[id], func(b *sarama.Broker) (*T, error) {
			out, err := f(b)
			if _, answered := err.(sarama.KError); answered { // the connection is fine
				refused, err = err, nil
			}
			return out, err
		})
		switch {
		case err != nil:
			silent = fmt.Errorf("broker %d at %s: %w", id, nodes[id], oneLine{err})
		case refused == nil:
			return out, nil
		case refused != sarama.ErrNotCoordinatorForConsumer && refused != sarama.ErrConsumerCoordinatorNotAvailable:
			return nil, refused
		}
	}
	return nil, silent
}
