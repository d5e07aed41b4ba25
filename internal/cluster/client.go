package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// Errors of a look at the cluster.
var (
	// ErrUnreachable says that no bootstrap address answered.
	ErrUnreachable = errors.New("no broker answers")
	errNoAnswer    = errors.New("the answer lacks what was asked for")
)

// openTimeout bounds Open: a wrong address or a missing topic is found within it,
// whatever retry budget the group and the producer have.
const openTimeout = 8 * time.Second

// Client answers questions about a cluster. It has few retries and short
// time-outs, and connections of its own: a consumer group's long poll would hold
// theirs. It is safe for concurrent use.
type Client struct {
	c       sarama.Client
	brokers []string
	id      string
}

// Open connects and learns the cluster's id.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	s := cfg.Sarama()
	s.Net.DialTimeout, s.Net.ReadTimeout, s.Net.WriteTimeout = 2*time.Second, 5*time.Second, 5*time.Second
	s.Metadata.Retry.Max, s.Metadata.Retry.Backoff = 1, 100*time.Millisecond
	s.Metadata.Timeout = 6 * time.Second
	s.Consumer.IsolationLevel = sarama.ReadCommitted
	client := &Client{brokers: cfg.Brokers}
	err := within(ctx, func() (err error) {
		client.c, err = sarama.NewClient(cfg.Brokers, s)
		if err != nil {
			return err
		}
		client.id, err = client.clusterID()
		return err
	})
	switch {
	case err == nil:
		return client, nil
	case isAuth(err):
		return nil, pipeline.Fatal(fmt.Errorf("brokers %s refuse us; check SASL and TLS: %w", strings.Join(cfg.Brokers, ","), err))
	default:
		return nil, fmt.Errorf("%w at %s; check the addresses, and TLS if the listener wants it: %w", ErrUnreachable, strings.Join(cfg.Brokers, ","), err)
	}
}

// Close releases the connections.
func (c *Client) Close() error {
	if err := c.c.Close(); err != nil && !errors.Is(err, sarama.ErrClosedClient) {
		return err
	}
	return nil
}

// ID returns the cluster's id.
func (c *Client) ID() string { return c.id }

// Brokers returns the number of brokers known.
func (c *Client) Brokers() int { return len(c.c.Brokers()) }

func (c *Client) clusterID() (string, error) {
	last := error(sarama.ErrOutOfBrokers)
	for _, b := range c.c.Brokers() {
		_ = b.Open(c.c.Config()) // an open one says so, and is as good
		resp, err := b.GetMetadata(&sarama.MetadataRequest{Version: 7, Topics: []string{}})
		if err != nil {
			last = err
			continue
		}
		if resp.ClusterID != nil {
			return *resp.ClusterID, nil
		}
		last = errNoAnswer
	}
	return "", last
}

// Partitions returns the number of partitions of each topic. Topics that do not
// exist are reported together.
func (c *Client) Partitions(ctx context.Context, topics []string) (map[string]int32, error) {
	out := make(map[string]int32, len(topics))
	var missing []string
	for _, t := range topics {
		var ids []int32
		err := within(ctx, func() (err error) {
			if err = c.c.RefreshMetadata(t); err != nil {
				return err
			}
			ids, err = c.c.Partitions(t)
			return err
		})
		switch {
		case errors.Is(err, sarama.ErrUnknownTopicOrPartition):
			missing = append(missing, t)
		case isAuth(err):
			return nil, pipeline.Fatal(fmt.Errorf("topic %q: %w; grant the user access to it", t, err))
		case err != nil:
			return nil, fmt.Errorf("topic %q: %w", t, err)
		default:
			out[t] = int32(len(ids))
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %s; create it first, Leat never does by accident", pipeline.ErrMissingTopic, strings.Join(missing, ", "))
	}
	return out, nil
}

// Earliest and Latest are what Offsets takes beside a time.
const (
	Earliest = sarama.OffsetOldest
	Latest   = sarama.OffsetNewest
)

// Offsets returns, for every partition of the topics, the first offset with a
// timestamp of at (ms) or later, or that of Earliest or Latest. Latest is the
// read_committed end: what stands before open transactions.
func (c *Client) Offsets(ctx context.Context, topics []string, at int64) (map[pipeline.Partition]int64, error) {
	counts, err := c.Partitions(ctx, topics)
	if err != nil {
		return nil, err
	}
	out := map[pipeline.Partition]int64{}
	for _, topic := range topics {
		for p := range counts[topic] {
			part := pipeline.Partition{Topic: topic, Partition: p}
			off, err := c.Offset(ctx, part, at)
			if err != nil {
				return nil, err
			}
			out[part] = off
		}
	}
	return out, nil
}

// Offset is Offsets for one partition.
func (c *Client) Offset(ctx context.Context, part pipeline.Partition, at int64) (offset int64, err error) {
	err = c.atLeader(ctx, part, func(b *sarama.Broker) error {
		req := &sarama.OffsetRequest{Version: 4, IsolationLevel: sarama.ReadCommitted}
		req.AddBlock(part.Topic, part.Partition, at, 1)
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return err
		}
		block := resp.GetBlock(part.Topic, part.Partition)
		switch {
		case block == nil:
			return errNoAnswer
		case block.Err != sarama.ErrNoError:
			return block.Err
		}
		offset = block.Offset
		return nil
	})
	if err == nil && offset < 0 { // no record is as late as that
		return c.Offset(ctx, part, Latest)
	}
	return offset, err
}

const attempts = 5

// atLeader calls f with the partition's leader, and again with a fresh view of
// the cluster if that fails.
func (c *Client) atLeader(ctx context.Context, part pipeline.Partition, f func(*sarama.Broker) error) error {
	return c.retry(ctx, fmt.Sprintf("partition %v", part), func() error {
		b, err := c.c.Leader(part.Topic, part.Partition)
		if err == nil {
			err = f(b)
		}
		if err != nil {
			_ = c.c.RefreshMetadata(part.Topic)
		}
		return err
	})
}

// atCoordinator calls f with the group's coordinator, likewise.
func (c *Client) atCoordinator(ctx context.Context, group string, f func(*sarama.Broker) error) error {
	return c.retry(ctx, fmt.Sprintf("group %q", group), func() error {
		b, err := c.c.Coordinator(group)
		if err == nil {
			err = f(b)
		}
		if err != nil {
			_ = c.c.RefreshCoordinator(group)
		}
		return err
	})
}

func (c *Client) retry(ctx context.Context, what string, f func() error) error {
	for try := 0; ; try++ {
		err := within(ctx, f)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil || try == attempts || isDefinite(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// within calls f and gives up on it when ctx ends: sarama's calls take no
// context. f then ends by the connection's time-out.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isDefinite tells errors that asking again does not change.
func isDefinite(err error) bool {
	if isAuth(err) {
		return true
	}
	return slices.ContainsFunc([]error{
		sarama.ErrIllegalGeneration, sarama.ErrUnknownMemberId, sarama.ErrFencedInstancedId,
		sarama.ErrRebalanceInProgress, sarama.ErrOffsetOutOfRange, sarama.ErrOffsetMetadataTooLarge,
	}, func(e error) bool { return errors.Is(err, e) })
}

// isAuth tells that the cluster refuses the user.
func isAuth(err error) bool {
	return slices.ContainsFunc([]error{
		sarama.ErrSASLAuthenticationFailed, sarama.ErrTopicAuthorizationFailed, sarama.ErrGroupAuthorizationFailed,
		sarama.ErrClusterAuthorizationFailed, sarama.ErrTransactionalIDAuthorizationFailed,
		sarama.ErrUnsupportedSASLMechanism, sarama.ErrIllegalSASLState,
	}, func(e error) bool { return errors.Is(err, e) })
}

// IsAuth tells that the cluster refuses the user.
func IsAuth(err error) bool { return isAuth(err) }
