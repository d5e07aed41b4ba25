package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/secure"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
)

// Errors of a look at the cluster.
var (
	// ErrUnreachable says that no bootstrap address answered.
	ErrUnreachable = errors.New("no broker answers")
	errNoAnswer    = errors.New("the answer lacks what was asked for")
	errClosed      = errors.New("the client is closed")
)

// openTimeout bounds Open: a wrong address or a missing topic is found within it,
// whatever retry budget the group and the producer have.
const openTimeout = 8 * time.Second

// Client answers questions about a cluster. It has few retries and short
// time-outs, and connections of its own: a consumer group's long poll would hold
// theirs. It is safe for concurrent use.
type Client struct {
	wire    wire.Config
	brokers []string // as configured
	id      string
	at      directory
}

// requestTimeout bounds one question. What is put to any broker is put to the next
// one, too, after a second.
const requestTimeout = 5 * time.Second

// Open connects and learns the cluster's id.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	c := &Client{
		wire:    wire.Config{Connection: cfg.Sarama(), SASL: cfg.SASL, MaxInFlight: 1, RequestTimeout: requestTimeout, DialTimeout: 2 * time.Second},
		brokers: cfg.Brokers,
	}
	resp, err := c.metadata(ctx, []string{})
	if err == nil && resp.ClusterID == nil {
		err = errNoAnswer
	}
	if err == nil {
		c.id = *resp.ClusterID
		return c, nil
	}
	if !isAuth(err) {
		err = c.diagnose(ctx, err)
	}
	if isAuth(err) {
		return nil, pipeline.Fatal(err)
	}
	return nil, fmt.Errorf("%w at %s; check the addresses, and that the brokers run: %w", ErrUnreachable, strings.Join(cfg.Brokers, ","), err)
}

// diagnose looks for what lies behind an error without a clear answer: a listener that
// wants TLS or SASL just closes the connection of whoever comes without.
func (c *Client) diagnose(ctx context.Context, err error) error {
	for _, addr := range c.brokers {
		if ctx.Err() != nil {
			return err
		}
		if found := c.wire.Diagnose(ctx, addr); found != nil {
			return found
		}
	}
	return err
}

// Close releases the connections.
func (c *Client) Close() error {
	c.at.close()
	return nil
}

// ID returns the cluster's id.
func (c *Client) ID() string { return c.id }

// Brokers returns the number of brokers known.
func (c *Client) Brokers() int { return c.at.count() }

// any puts a question to whichever broker answers first: one that stands still
// must hold nobody up.
func (c *Client) any(ctx context.Context, f func(*sarama.Broker) error) error {
	err := c.wire.Any(ctx, append(c.at.addresses(), c.brokers...), f)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return oneLine{errors.Join(context.Cause(ctx), err)}
	default:
		return oneLine{err}
	}
}

// oneLine is an error in a single line.
type oneLine struct{ error }

func (e oneLine) Error() string { return strings.ReplaceAll(e.error.Error(), "\n", "; ") }
func (e oneLine) Unwrap() error { return e.error }

// metadata asks for topics, none if the slice is empty.
func (c *Client) metadata(ctx context.Context, topics []string) (*sarama.MetadataResponse, error) {
	return c.metadataOf(ctx, 7, topics)
}

// metadataOf is metadata in a version of the request.
func (c *Client) metadataOf(ctx context.Context, version int16, topics []string) (*sarama.MetadataResponse, error) {
	answers := make(chan *sarama.MetadataResponse, 1)
	err := c.any(ctx, func(b *sarama.Broker) error {
		resp, err := b.GetMetadata(&sarama.MetadataRequest{Version: version, Topics: topics})
		if err == nil {
			select {
			case answers <- resp:
			default: // another was faster
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

// Partitions returns the number of partitions of each topic. Topics that do not
// exist are reported together.
func (c *Client) Partitions(ctx context.Context, topics []string) (map[string]int32, error) {
	out := make(map[string]int32, len(topics))
	if len(topics) == 0 {
		return out, nil
	}
	var missing []string
	for try := 0; try < 2; try++ { // a broker may not know yet what was created just now
		if missing = nil; try > 0 {
			select {
			case <-time.After(pipeline.Backoff{}.Wait(0)):
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		resp, err := c.metadata(ctx, topics)
		if err != nil {
			return nil, err
		}
		for _, t := range resp.Topics {
			switch {
			case t.Err == sarama.ErrUnknownTopicOrPartition:
				missing = append(missing, t.Name)
			case isAuth(t.Err):
				return nil, pipeline.Fatal(secure.Denied(t.Err, secure.Describe, secure.Topic, t.Name))
			case t.Err != sarama.ErrNoError && t.Err != sarama.ErrLeaderNotAvailable:
				return nil, fmt.Errorf("topic %q: %w", t.Name, t.Err)
			default:
				out[t.Name] = int32(len(t.Partitions))
			}
		}
		if len(missing) == 0 {
			return out, nil
		}
	}
	slices.SortFunc(missing, func(a, b string) int { return slices.Index(topics, a) - slices.Index(topics, b) })
	return nil, fmt.Errorf("%w: %s; create it first, Leat never does by accident", pipeline.ErrMissingTopic, strings.Join(missing, ", "))
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
	return c.offsets(ctx, topics, at, sarama.ReadCommitted)
}

func (c *Client) offsets(ctx context.Context, topics []string, at int64, isolation sarama.IsolationLevel) (map[pipeline.Partition]int64, error) {
	counts, err := c.Partitions(ctx, topics)
	if err != nil {
		return nil, err
	}
	out := map[pipeline.Partition]int64{}
	for _, topic := range topics {
		for p := range counts[topic] {
			part := pipeline.Partition{Topic: topic, Partition: p}
			off, err := c.OffsetFor(ctx, part, at, isolation)
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
	return c.OffsetFor(ctx, part, at, sarama.ReadCommitted)
}

// OffsetFor is Offset for a reader of that isolation level.
func (c *Client) OffsetFor(ctx context.Context, part pipeline.Partition, at int64, isolation sarama.IsolationLevel) (int64, error) {
	offset, err := atLeader(ctx, c, part, func(b *sarama.Broker) (int64, error) { return offsetAt(b, part, at, isolation) })
	if err == nil && offset < 0 { // no record is as late as that
		return c.OffsetFor(ctx, part, Latest, isolation)
	}
	return offset, err
}

func offsetAt(b *sarama.Broker, part pipeline.Partition, at int64, isolation sarama.IsolationLevel) (int64, error) {
	req := &sarama.OffsetRequest{Version: 4, IsolationLevel: isolation}
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
		return 0, secure.Denied(block.Err, secure.Describe, secure.Topic, part.Topic)
	}
	return block.Offset, nil
}

const attempts = 5

// atLeader calls f with the partition's leader, and again with a fresh view of
// the cluster if that fails.
func atLeader[T any](ctx context.Context, c *Client, part pipeline.Partition, f func(*sarama.Broker) (T, error)) (T, error) {
	return retry(ctx, fmt.Sprintf("partition %v", part), func() (out T, err error) {
		addr, known := c.at.leader(part)
		if !known {
			if _, err := c.metadata(ctx, []string{part.Topic}); err != nil {
				return out, err
			}
			if addr, known = c.at.leader(part); !known {
				return out, sarama.ErrLeaderNotAvailable
			}
		}
		if out, err = ask(ctx, c, addr, f); err != nil {
			c.at.forget(part)
		}
		return out, err
	})
}

// atCoordinator calls f with the group's coordinator, likewise.
func atCoordinator[T any](ctx context.Context, c *Client, group string, f func(*sarama.Broker) (T, error)) (T, error) {
	return retry(ctx, fmt.Sprintf("group %q", group), func() (out T, err error) {
		addr, known := c.at.coordinator(group)
		if !known {
			if addr, err = c.findCoordinator(ctx, group); err != nil {
				return out, err
			}
			c.at.coordinates(group, addr)
		}
		if out, err = ask(ctx, c, addr, f); err != nil {
			c.at.coordinates(group, "")
		}
		return out, err
	})
}

func (c *Client) findCoordinator(ctx context.Context, group string) (string, error) {
	answers := make(chan string, 1)
	err := c.any(ctx, func(b *sarama.Broker) error {
		resp, err := b.FindCoordinator(&sarama.FindCoordinatorRequest{Version: 2, CoordinatorKey: group, CoordinatorType: sarama.CoordinatorGroup})
		switch {
		case err != nil:
			return err
		case resp.Err != sarama.ErrNoError:
			return secure.Denied(resp.Err, secure.Read, secure.Group, group)
		}
		select {
		case answers <- resp.Coordinator.Addr():
		default:
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	return <-answers, nil
}

// ask calls f with a broker. After an error of any kind its connection is closed.
func ask[T any](ctx context.Context, c *Client, addr string, f func(*sarama.Broker) (T, error)) (out T, err error) {
	conn, err := c.at.take(addr)
	if err != nil {
		return out, err
	}
	if conn == nil {
		if conn, err = c.wire.Open(ctx, addr); err != nil {
			return out, err
		}
	}
	err = conn.Ask(ctx, func(b *sarama.Broker) (err error) {
		out, err = f(b)
		return err
	})
	if err != nil {
		conn.Close()
		return out, err
	}
	c.at.give(addr, conn)
	return out, nil
}

func retry[T any](ctx context.Context, what string, f func() (T, error)) (out T, err error) {
	for try := 0; ; try++ {
		out, err = f()
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil || try == attempts || isDefinite(err):
			return out, fmt.Errorf("%s: %w", what, oneLine{err})
		}
		select {
		case <-time.After(pipeline.Backoff{}.Wait(try)):
		case <-ctx.Done():
			return out, fmt.Errorf("%s: %w", what, context.Cause(ctx))
		}
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

// Rebalanced tells that the group is in another generation than the member who asks, or
// is about to be.
func Rebalanced(err error) bool {
	return errors.Is(err, sarama.ErrIllegalGeneration) || errors.Is(err, sarama.ErrUnknownMemberId) || errors.Is(err, sarama.ErrRebalanceInProgress)
}

// isAuth tells that the cluster refuses the user.
func isAuth(err error) bool { return secure.Refused(err) }

// IsAuth tells that the cluster refuses the user.
func IsAuth(err error) bool { return isAuth(err) }
