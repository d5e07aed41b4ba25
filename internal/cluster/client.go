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
	client, err := within(ctx, func() (*Client, error) {
		c, err := sarama.NewClient(cfg.Brokers, s)
		if err != nil {
			return nil, err
		}
		client := &Client{c: c, brokers: cfg.Brokers}
		if client.id, err = client.clusterID(); err == nil {
			err = ctx.Err()
		}
		if err != nil { // or nobody waits any more
			_ = c.Close()
			return nil, err
		}
		return client, nil
	})
	switch {
	case err == nil:
		return client, nil
	case isAuth(err):
		return nil, pipeline.Fatal(fmt.Errorf("brokers %s refuse us; check SASL and TLS: %w", strings.Join(cfg.Brokers, ","), err))
	default:
		return nil, fmt.Errorf("%w at %s; check the addresses, and TLS and SASL if the listener wants them: %w", ErrUnreachable, strings.Join(cfg.Brokers, ","), err)
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
		ids, err := within(ctx, func() ([]int32, error) {
			if err := c.c.RefreshMetadata(t); err != nil {
				return nil, err
			}
			return c.c.Partitions(t)
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
func (c *Client) Offset(ctx context.Context, part pipeline.Partition, at int64) (int64, error) {
	offset, err := atLeader(ctx, c, part, func(b *sarama.Broker) (int64, error) {
		req := &sarama.OffsetRequest{Version: 4, IsolationLevel: sarama.ReadCommitted}
		req.AddBlock(part.Topic, part.Partition, at, 1)
		resp, err := b.GetAvailableOffsets(req)
		if err != nil {
			return 0, err
		}
		block := resp.GetBlock(part.Topic, part.Partition)
		switch {
		case block == nil:
			return 0, errNoAnswer
		case block.Err != sarama.ErrNoError:
			return 0, block.Err
		}
		return block.Offset, nil
	})
	if err == nil && offset < 0 { // no record is as late as that
		return c.Offset(ctx, part, Latest)
	}
	return offset, err
}

const attempts = 5

// atLeader calls f with the partition's leader, and again with a fresh view of
// the cluster if that fails.
func atLeader[T any](ctx context.Context, c *Client, part pipeline.Partition, f func(*sarama.Broker) (T, error)) (T, error) {
	return retry(ctx, fmt.Sprintf("partition %v", part), func() (out T, err error) {
		b, err := c.c.Leader(part.Topic, part.Partition)
		if err == nil {
			out, err = f(b)
		}
		if err != nil {
			_ = c.c.RefreshMetadata(part.Topic)
		}
		return out, err
	})
}

// atCoordinator calls f with the group's coordinator, likewise.
func atCoordinator[T any](ctx context.Context, c *Client, group string, f func(*sarama.Broker) (T, error)) (T, error) {
	return retry(ctx, fmt.Sprintf("group %q", group), func() (out T, err error) {
		b, err := c.c.Coordinator(group)
		if err == nil {
			out, err = f(b)
		}
		if err != nil {
			_ = c.c.RefreshCoordinator(group)
		}
		return out, err
	})
}

func retry[T any](ctx context.Context, what string, f func() (T, error)) (out T, err error) {
	for try := 0; ; try++ {
		out, err = within(ctx, f)
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil || try == attempts || isDefinite(err):
			return out, fmt.Errorf("%s: %w", what, err)
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return out, fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
	}
}

// within calls f and gives up on it when ctx ends: sarama's calls take no
// context. f then ends by the connection's time-out, so it must not touch what
// the caller goes on to use: its result is what it returns.
func within[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		out T
		err error
	}
	done := make(chan result, 1)
	go func() {
		out, err := f()
		done <- result{out, err}
	}()
	select {
	case r := <-done:
		return r.out, r.err
	case <-ctx.Done():
		var none T
		return none, context.Cause(ctx)
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
