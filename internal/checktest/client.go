package checktest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// patience bounds every wait; only a failing test waits that long.
const patience = 30 * time.Second

// Client prepares topics and looks at them on behalf of a test, which it fails
// when something goes wrong.
type Client struct {
	t       testing.TB
	k       *kgo.Client
	brokers []string
	opts    []kgo.Opt
}

// Dial returns a client that is closed at the test's end. Options such as
// credentials are used for every connection.
func Dial(t testing.TB, brokers []string, opts ...kgo.Opt) *Client {
	t.Helper()
	c := &Client{t: t, brokers: slices.Clone(brokers), opts: opts}
	c.k = c.open(
		kgo.RecordPartitioner(byHand{kgo.StickyKeyPartitioner(nil)}), kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(2*time.Millisecond), kgo.MaxBufferedRecords(100_000),
	)
	t.Cleanup(c.k.Close)
	return c
}

func (c *Client) open(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	k, err := kgo.NewClient(slices.Concat([]kgo.Opt{kgo.SeedBrokers(c.brokers...), kgo.ClientID("checktest")}, c.opts, opts)...)
	if err != nil {
		c.t.Fatalf("client: %v", err)
	}
	return k
}

type atKey struct{}

// To pins a record to a partition.
func To(partition int32, r *kgo.Record) *kgo.Record {
	r.Context = context.WithValue(context.Background(), atKey{}, partition)
	return r
}

// byHand obeys To, and else hashes the key as Java does.
type byHand struct{ kgo.Partitioner }

func (b byHand) ForTopic(topic string) kgo.TopicPartitioner {
	return &byHandTopic{b.Partitioner.ForTopic(topic)}
}

type byHandTopic struct{ kgo.TopicPartitioner }

func (b *byHandTopic) Partition(r *kgo.Record, n int) int {
	if p, ok := pinned(r); ok {
		return int(p)
	}
	return b.TopicPartitioner.Partition(r, n)
}

func (b *byHandTopic) RequiresConsistency(r *kgo.Record) bool {
	_, ok := pinned(r)
	return ok || b.TopicPartitioner.RequiresConsistency(r)
}

func pinned(r *kgo.Record) (int32, bool) {
	if r.Context == nil {
		return 0, false
	}
	p, ok := r.Context.Value(atKey{}).(int32)
	return p, ok
}

func (c *Client) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

// CreateTopic creates a topic with settings, which may be nil, and waits until
// its leaders are known. It is deleted at the test's end.
func (c *Client) CreateTopic(topic string, partitions int32, settings map[string]string) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, -1
	for k, v := range settings {
		conf := kmsg.NewCreateTopicsRequestTopicConfig()
		conf.Name, conf.Value = k, &v
		rt.Configs = append(rt.Configs, conf)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("create topic %q: %v", topic, err)
	}
	c.t.Cleanup(func() { c.deleteTopic(topic) })
	c.Await("the leaders of "+topic, func() bool { return c.hasLeaders(ctx, topic, partitions) })
}

func (c *Client) hasLeaders(ctx context.Context, topic string, partitions int32) bool {
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err != nil || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != int(partitions) {
		return false
	}
	return !slices.ContainsFunc(resp.Topics[0].Partitions, func(p kmsg.MetadataResponseTopicPartition) bool {
		return p.ErrorCode != 0 || p.Leader < 0
	})
}

func (c *Client) deleteTopic(topic string) {
	ctx, cancel := c.context()
	defer cancel()
	req := kmsg.NewPtrDeleteTopicsRequest()
	rt := kmsg.NewDeleteTopicsRequestTopic()
	rt.Topic = &topic
	req.Topics, req.TopicNames = append(req.Topics, rt), []string{topic}
	_, _ = req.RequestWith(ctx, c.k)
}

// Await polls a condition, and fails the test when it does not come true.
func (c *Client) Await(what string, done func() bool) {
	c.t.Helper()
	Await(c.t, what, patience, done)
}

// Await polls a condition until it is true, and fails the test at the deadline.
func Await(t testing.TB, what string, within time.Duration, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", within, what)
		}
	}
}

// Produce writes records and returns when all are acknowledged.
func (c *Client) Produce(records ...*kgo.Record) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	if err := c.k.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatalf("produce: %v", err)
	}
}

// ProduceTransaction writes records in a transaction of its own and commits or
// aborts it: what is left behind ends in a control record.
func (c *Client) ProduceTransaction(commit bool, records ...*kgo.Record) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	k := c.open(kgo.TransactionalID("checktest-"+c.t.Name()), kgo.RecordPartitioner(byHand{kgo.StickyKeyPartitioner(nil)}))
	defer k.Close()
	if err := k.BeginTransaction(); err != nil {
		c.t.Fatalf("begin: %v", err)
	}
	if err := k.ProduceSync(ctx, records...).FirstErr(); err != nil {
		c.t.Fatalf("produce: %v", err)
	}
	if err := k.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
		c.t.Fatalf("end the transaction: %v", err)
	}
}

// Feed writes the records with ids from..to-1, spread evenly over a time, or as
// fast as it can if that is 0. It returns early when ctx ends.
func (c *Client) Feed(ctx context.Context, topic string, from, to uint64, over time.Duration) error {
	var failed error
	began := time.Now()
	fail := make(chan error, 1)
	for id := from; id < to; id++ {
		if over > 0 && id%64 == 0 {
			due := time.Duration(float64(over) * float64(id-from) / float64(to-from))
			select {
			case <-time.After(due - time.Since(began)):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		c.k.Produce(ctx, Record(topic, id), func(_ *kgo.Record, err error) {
			if err != nil {
				select {
				case fail <- err:
				default:
				}
			}
		})
	}
	failed = c.k.Flush(ctx)
	select {
	case err := <-fail:
		failed = errors.Join(failed, err)
	default:
	}
	return failed
}

// Prefill writes the records 0..n-1 as fast as it can.
func (c *Client) Prefill(topic string, n uint64) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := c.Feed(ctx, topic, 0, n, 0); err != nil {
		c.t.Fatalf("prefill %q: %v", topic, err)
	}
}

// Committed returns a group's committed positions in a topic. Partitions without
// one are left out.
func (c *Client) Committed(group, topic string) map[int32]int64 {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	for { // a broker may be gone, or not know yet
		out, err := c.committed(ctx, group, topic)
		switch {
		case err == nil:
			return out
		case ctx.Err() != nil:
			c.t.Fatalf("committed positions of %q: %v", group, err)
		}
	}
}

func (c *Client) committed(ctx context.Context, group, topic string) (map[int32]int64, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	rg := kmsg.NewOffsetFetchRequestGroup()
	rg.Group = group
	req.Groups = append(req.Groups, rg)
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resp, err := req.RequestWith(soon, c.k)
	if err != nil { // the client stays with a coordinator that is dead
		coordinator, ferr := c.coordinator(ctx, groups, group)
		if ferr != nil {
			return nil, errors.Join(err, ferr)
		}
		if resp, err = req.RequestWith(ctx, c.k.Broker(int(coordinator))); err != nil {
			return nil, err
		}
	}
	out := map[int32]int64{}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); errors.Is(err, kerr.GroupIDNotFound) {
			return nil, nil // nobody has joined or committed yet
		} else if err != nil {
			return nil, err
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if t.Topic == topic && p.Offset >= 0 {
					out[p.Partition] = p.Offset
				}
			}
		}
	}
	return out, nil
}

// Members returns the number of members of a group.
func (c *Client) Members(group string) int {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(ctx, c.k)
	if err != nil || len(resp.Groups) != 1 {
		c.t.Fatalf("describe group %q: %v", group, err)
	}
	return len(resp.Groups[0].Members)
}

// describe returns the state of a group, and of each member its partitions.
func (c *Client) describe(group string) string {
	ctx, cancel := c.context()
	defer cancel()
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Groups = []string{group}
	resp, err := req.RequestWith(ctx, c.k)
	if err != nil || len(resp.Groups) != 1 {
		return fmt.Sprintf("describe: %v", err)
	}
	out := resp.Groups[0].State
	for _, m := range resp.Groups[0].Members {
		var a kmsg.ConsumerMemberAssignment
		err := a.ReadFrom(m.MemberAssignment)
		instance := ""
		if m.InstanceID != nil {
			instance = *m.InstanceID
		}
		out += fmt.Sprintf("\n\t%s %s:", instance, m.MemberID)
		for _, t := range a.Topics {
			out += fmt.Sprintf(" %s%v", t.Topic, t.Partitions)
		}
		if err != nil {
			out += fmt.Sprintf(" (%v)", err)
		}
	}
	return out
}

// JoinAndDie joins a group as its only, static member, is its leader, assigns itself
// partitions of a topic by the protocol cooperative-sticky, and is never heard of
// again.
func (c *Client) JoinAndDie(group, instance, topic string, partitions ...int32) {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics = 1, []string{topic}
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "cooperative-sticky", meta.AppendTo(nil)
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.InstanceID, join.ProtocolType = group, &instance, "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 30_000, 30_000
	join.Protocols = append(join.Protocols, protocol)
	joined, err := join.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(joined.ErrorCode)
	}
	if err != nil || joined.LeaderID != joined.MemberID {
		c.t.Fatalf("join group %q as %q: %v", group, instance, err)
	}
	var a kmsg.ConsumerMemberAssignment
	own := kmsg.NewConsumerMemberAssignmentTopic()
	own.Topic, own.Partitions = topic, partitions
	a.Topics = append(a.Topics, own)
	member := kmsg.NewSyncGroupRequestGroupAssignment()
	member.MemberID, member.MemberAssignment = joined.MemberID, a.AppendTo(nil)
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.InstanceID, sync.MemberID, sync.Generation = group, &instance, joined.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = &join.ProtocolType, &protocol.Name
	sync.GroupAssignment = append(sync.GroupAssignment, member)
	synced, err := sync.RequestWith(ctx, c.k)
	if err == nil {
		err = kerr.ErrorForCode(synced.ErrorCode)
	}
	if err != nil {
		c.t.Fatalf("sync group %q as %q: %v", group, instance, err)
	}
}

// Ends returns the end of each partition, as a reader of committed records sees
// it or as it stands in the log; the two differ while a transaction is open.
func (c *Client) Ends(topic string, committed bool) map[int32]int64 {
	c.t.Helper()
	return c.offsets(topic, -1, committed)
}

func (c *Client) offsets(topic string, at int64, committed bool) map[int32]int64 {
	c.t.Helper()
	ctx, cancel := c.context()
	defer cancel()
	for { // likewise
		out, err := c.listOffsets(ctx, topic, at, committed)
		switch {
		case err == nil:
			return out
		case ctx.Err() != nil:
			c.t.Fatalf("offsets of %q: %v", topic, err)
		}
	}
}

func (c *Client) listOffsets(ctx context.Context, topic string, at int64, committed bool) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	mt := kmsg.NewMetadataRequestTopic()
	mt.Topic = &topic
	meta.Topics = append(meta.Topics, mt)
	known, err := meta.RequestWith(ctx, c.k)
	if err != nil {
		return nil, err
	}
	if err := kerr.ErrorForCode(known.Topics[0].ErrorCode); err != nil {
		return nil, err
	}
	req := kmsg.NewPtrListOffsetsRequest()
	if committed {
		req.IsolationLevel = 1
	}
	rt := kmsg.NewListOffsetsRequestTopic()
	rt.Topic = topic
	for _, p := range known.Topics[0].Partitions {
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = p.Partition, at
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, c.k)
	if err != nil {
		return nil, err
	}
	out := map[int32]int64{}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, fmt.Errorf("partition %d: %w", p.Partition, err)
			}
			out[p.Partition] = p.Offset
		}
	}
	return out, nil
}
