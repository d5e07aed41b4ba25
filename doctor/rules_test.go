package doctor_test

import (
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// The specification's table of acks=all, and what is beside it.
func TestMinISR(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		replicas int16
		least    string
		acks     kafka.Acks
		before   *kversion.Versions
		want     string // of min-isr; empty if it is fine
	}{
		{3, "1", kafka.AcksAll, nil, "degrades to acks=1"},
		{3, "2", kafka.AcksAll, nil, ""},
		{3, "3", kafka.AcksAll, nil, "one broker that is down blocks writes"},
		{3, "4", kafka.AcksAll, nil, "one broker that is down blocks writes"}, // capped since 3.7
		{3, "4", kafka.AcksAll, kversion.V3_6_0(), "refuse every write"},
		{2, "1", kafka.AcksAll, nil, "degrades to acks=1"},
		{2, "2", kafka.AcksAll, nil, "one broker that is down blocks writes"},
		{1, "1", kafka.AcksAll, nil, ""},
		{1, "2", kafka.AcksAll, nil, ""},
		{1, "2", kafka.AcksAll, kversion.V3_6_0(), "refuse every write"},
		{3, "1", kafka.AcksLeader, nil, ""}, // nobody asks
		{3, "3", kafka.AcksNone, nil, ""},
	} {
		t.Run(fmt.Sprintf("%s of %d, acks %v", x.least, x.replicas, x.acks), func(t *testing.T) {
			t.Parallel()
			cfg := soundConfig()
			cfg.Topics = nil
			if x.before != nil {
				cfg.Options = append(cfg.Options, kfake.MaxVersions(x.before))
			}
			p := admit(t, cfg)
			createWith(t, p.fake.Brokers(), "out", x.replicas, map[string]string{"min.insync.replicas": x.least})
			s := doctor.Settings{Outputs: []string{"out"}, Config: kafka.Config{Brokers: p.fake.Brokers(), Producer: kafka.ProducerConfig{Acks: x.acks}}}
			report := check(t, s)
			var want []string
			if x.want != "" {
				want = append(want, "fault min-isr out")
				says(t, report, doctor.CheckMinISR, x.want, "min.insync.replicas=2")
			}
			if x.replicas < 3 {
				want = append(want, "fault replication out")
			}
			found(t, report, want...)
		})
	}
}

// What exactly once rests on is kept by the cluster, in topics that have replicas, too.
func TestInternalTopics(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	createWith(t, p.fake.Brokers(), "__consumer_offsets", 3, nil)
	createWith(t, p.fake.Brokers(), "__transaction_state", 1, nil)
	found(t, check(t, p.settings), "fault replication __transaction_state")
	p.settings.Config.Group, p.settings.Inputs = "", nil // a producer has nothing to do with them
	found(t, check(t, p.settings))
}

func TestMessageSize(t *testing.T) {
	t.Parallel()
	cfg := soundConfig()
	cfg.Topics[1].Config = map[string]string{"max.message.bytes": "200000"}
	p := admit(t, cfg)
	for _, x := range []struct {
		batch, record int
		says, change  string // empty if it is fine
	}{
		{200_000, 200_000, "", ""},
		{200_001, 200_000, "BatchSize is 200001", "max.message.bytes=200013"},
		{200_000, 200_001, "MaxRequestSize is 200001", "max.message.bytes=200013"},
		{300_000, 400_000, "BatchSize is 300000: full batches that do not compress are refused and sent again in parts; MaxRequestSize is 400000", "max.message.bytes=400012"},
	} {
		s := p.settings
		s.Config.Producer = kafka.ProducerConfig{BatchSize: x.batch, MaxRequestSize: x.record}
		report := check(t, s)
		if x.says == "" {
			found(t, report)
			continue
		}
		found(t, report, "fault message-size out")
		says(t, report, doctor.CheckMessageSize, x.says, x.change)
	}
}

func TestCompression(t *testing.T) {
	t.Parallel()
	cfg := soundConfig()
	for topic, codec := range map[string]string{"zstd": "zstd", "uncompressed": "uncompressed", "producer": "producer"} {
		cfg.Topics = append(cfg.Topics, embedded.Topic{Name: topic, Config: map[string]string{"compression.type": codec}})
	}
	p := admit(t, cfg)
	p.settings.Outputs = []string{"zstd", "uncompressed", "producer"}
	for codec, want := range map[kafka.Compression][]string{
		kafka.Zstd:          {"warning compression uncompressed"},
		kafka.NoCompression: {"warning compression zstd"},
		kafka.Snappy:        {"warning compression uncompressed", "warning compression zstd"},
	} {
		s := p.settings
		s.Config.Producer.Compression = codec
		found(t, check(t, s), want...)
	}
}

// saramas is the partition that sarama's default partitioner chooses.
func saramas(t *testing.T) func(key []byte) int32 {
	choose := sarama.NewHashPartitioner("out")
	return func(key []byte) int32 {
		p, err := choose.Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(key)}, partitions)
		noError(t, err, "choose")
		return p
	}
}

func TestPartitioner(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		records []*kgo.Record
		want    string // of the warning; empty if it is fine
	}{
		"sarama's": {keyed("out", 200, saramas(t)), "only "},
		"unsigned": {keyed("out", 200, func(key []byte) int32 {
			h := fnv.New32a()
			_, _ = h.Write(key)
			return int32(h.Sum32() % partitions)
		}), "FNV-1a, unsigned"},
		"grown":          {keyed("out", 200, func(key []byte) int32 { return murmur2.Partition(key, 4) }), "they fit 4 partitions"},
		"by hand":        {keyed("out", 200, func(key []byte) int32 { return int32(key[len(key)-1]) % partitions }), "explains the partition of only"},
		"a few by hand":  {append(keyed("out", 196, byKey), keyed("out", 4, func(key []byte) int32 { return (byKey(key) + 1) % partitions })...), ""},
		"keys in two":    {append(keyed("out", 100, byKey), keyed("out", 100, func(key []byte) int32 { return (byKey(key) + 1) % partitions })...), "100 keys are in more than one partition"},
		"a hot key":      {append(keyed("out", 100, byKey), hot(150)...), ""},
		"none with keys": {[]*kgo.Record{{Topic: "out", Value: []byte("v")}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := admit(t, soundConfig())
			p.Produce(x.records...)
			report := check(t, p.settings)
			if x.want == "" {
				found(t, report)
				return
			}
			found(t, report, "warning partitioner out")
			says(t, report, doctor.CheckPartitioner, x.want, "one partitioner")
			if name == "sarama's" {
				says(t, report, doctor.CheckPartitioner, "what does is FNV-1a, sarama's default", "NewMurmur2Partitioner")
			}
		})
	}
}

// hot are many records of one key, put where it does not belong.
func hot(n int) (out []*kgo.Record) {
	for range n {
		out = append(out, keyed("out", 1, func(key []byte) int32 { return (byKey(key) + 1) % partitions })...)
	}
	return out
}

func byKey(key []byte) int32 { return murmur2.Partition(key, partitions) }

// Neither control records nor those of aborted transactions count, and of a long log
// only the ends are read.
func TestPartitionerLooksAtCommittedEnds(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	wrong := func(key []byte) int32 { return (byKey(key) + 1) % partitions }
	p.Produce(keyed("out", 3000, wrong)...) // old
	p.Produce(keyed("out", 3000, byKey)...)
	p.ProduceTransaction(true, keyed("out", 30, byKey)...)
	p.ProduceTransaction(false, keyed("out", 30, wrong)...)
	report := check(t, p.settings)
	found(t, report)
	for _, f := range report.Findings {
		if f.Check != doctor.CheckPartitioner {
			continue
		}
		fields := strings.Fields(f.Text) // murmur2 explains n of m keys
		if n, err := strconv.Atoi(fields[4]); err != nil || n < 500 || n > 1000 {
			t.Errorf("%s", f.Text)
		}
	}
	// The same is seen when it counts.
	p.ProduceTransaction(true, keyed("out", 1000, wrong)...)
	found(t, check(t, p.settings), "warning partitioner out")
}

// The group has members with which we cannot share it.
func TestGroup(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		join   func(*patient)
		want   []string
		says   string
		change string
	}{
		"our instance": {func(p *patient) { p.JoinAndDie("g", "a", "in", 0) }, []string{"fault group g"}, "instance a is a member already", "another Instance"},
		"other topics": {func(p *patient) { p.JoinAndDie("g", "x", "out", 0) }, []string{"fault group g"}, "reads other topics (out)", "another group"},
		"eager":        {func(p *patient) { p.consume(kgo.Balancers(kgo.RangeBalancer())) }, []string{"fault group g"}, "by range, and we by cooperative-sticky", "another group"},
		"what we read is not said": {func(p *patient) {
			p.settings.Inputs = nil
			p.JoinAndDie("g", "x", "out", 0)
		}, []string{"warning group-active g"}, "", ""},
		"KIP-848": {func(p *patient) { p.consume(kgo.ServerSideBalancer()) }, []string{"fault group g"}, "KIP-848", "another group"},
		"comrade": {func(p *patient) { p.consume(kgo.Balancers(kgo.CooperativeStickyBalancer())) }, []string{"warning group-active g"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := admit(t, soundConfig())
			x.join(p)
			report := check(t, p.settings)
			found(t, report, x.want...)
			if x.says != "" {
				says(t, report, doctor.CheckGroup, x.says, x.change)
			}
			if n := p.Members("g"); n != 1 && name != "KIP-848" { // an older question does not find those
				t.Errorf("the group has %d members", n)
			}
		})
	}
}

// consume joins the group for the test's time.
func (p *patient) consume(opts ...kgo.Opt) {
	p.t.Helper()
	k, err := kgo.NewClient(append(opts, kgo.SeedBrokers(p.fake.Brokers()...), kgo.ConsumerGroup("g"), kgo.ConsumeTopics("in"))...)
	noError(p.t, err, "client")
	p.t.Cleanup(k.Close)
	p.Produce(keyed("in", 1, byKey)...)
	if fetches := k.PollFetches(p.t.Context()); fetches.Err() != nil || fetches.NumRecords() != 1 {
		p.t.Fatalf("poll: %d records, %v", fetches.NumRecords(), fetches.Err())
	}
}

// What dead letters and tables need is not what other topics have.
func TestCleanup(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	clean := p.settings
	for i, x := range []struct {
		table  bool
		config map[string]string
		want   string
		says   []string
	}{
		{false, map[string]string{"message.timestamp.type": "LogAppendTime"}, "", []string{"letters stay for 168h0m0s", ""}},
		{false, map[string]string{"retention.ms": "-1"}, "", []string{"letters are not deleted by time", ""}},
		{false, nil, "warning", []string{"message.timestamp.type=CreateTime: a letter has its record's time, and if that is older than 168h0m0s", "message.timestamp.type=LogAppendTime"}},
		{false, map[string]string{"cleanup.policy": "compact"}, "fault", []string{"of the letters of one key only the last stays", "cleanup.policy=delete"}},
		{false, map[string]string{"cleanup.policy": "delete,compact"}, "fault", []string{"cleanup.policy=delete,compact", "cleanup.policy=delete"}},
		{true, map[string]string{"cleanup.policy": "compact"}, "", []string{"the latest record of each key stays", ""}},
		{true, nil, "warning", []string{"cleanup.policy=delete: entries that do not change are deleted in time", "cleanup.policy=compact"}},
		{true, map[string]string{"cleanup.policy": "compact,delete"}, "warning", []string{"cleanup.policy=compact,delete", "cleanup.policy=compact"}},
	} {
		topic := fmt.Sprintf("topic-%d", i)
		createWith(t, p.fake.Brokers(), topic, 3, x.config)
		s := clean
		if s.DeadLetters = []string{topic}; x.table {
			s.Tables, s.DeadLetters = s.DeadLetters, nil
		} else {
			s.Outputs = append(slices.Clone(s.Outputs), topic)
		}
		report := check(t, s)
		if x.want == "" {
			found(t, report)
		} else {
			found(t, report, x.want+" cleanup "+topic)
		}
		says(t, report, doctor.CheckCleanup, x.says[0], x.says[1])
	}
	clean.DeadLetters = []string{"other"}
	if err := clean.Validate(); err == nil || !strings.Contains(err.Error(), `"other" of DeadLetters is not among Outputs`) {
		t.Errorf("validate: %v", err)
	}
}

// A producer that died in its transaction, or lives.
func TestTransactionalID(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	k, err := kgo.NewClient(kgo.SeedBrokers(p.fake.Brokers()...), kgo.TransactionalID("leat-g-a-0"))
	noError(t, err, "client")
	defer k.Close()
	noError(t, k.BeginTransaction(), "begin")
	noError(t, k.ProduceSync(t.Context(), &kgo.Record{Topic: "out", Value: []byte("v")}).FirstErr(), "produce")
	report := check(t, p.settings)
	found(t, report, "warning transactional-id leat-g-a-0")
	says(t, report, doctor.CheckTransactionalID, "a transaction is open since 20", "stop the producer")
	noError(t, k.EndTransaction(t.Context(), kgo.TryCommit), "commit: it was not fenced")
	found(t, check(t, p.settings))
}

// Brokers that were upgraded go on with the version that the cluster was made with.
func TestTransactionVersion(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	feature := withFeature(p.fake.Fake())
	for _, x := range []struct {
		supported, level int16
		want             []string
		says             string
	}{
		{2, 2, nil, "version 2: each transaction has an epoch of its own"},
		{2, 1, []string{"warning transaction-version "}, "version 1, though all brokers can do version 2"},
		{2, 0, []string{"warning transaction-version "}, "version 0, though all brokers can do version 2"},
		{0, 0, nil, "version 0; version 2 needs brokers of Kafka 4.0"},
	} {
		feature.Store(&wire.Feature{Supported: x.supported, Level: x.level})
		report := check(t, p.settings)
		found(t, report, x.want...)
		change := ""
		if len(x.want) > 0 {
			change = "kafka-features.sh --bootstrap-server " + p.fake.Brokers()[0] + " upgrade --feature transaction.version=2"
		}
		says(t, report, doctor.CheckTransactionVersion, x.says, change)
	}
	only := p.settings
	only.Config.Delivery = pipeline.AtLeastOnce
	for _, f := range check(t, only).Findings {
		if f.Check == doctor.CheckTransactionVersion {
			t.Errorf("without transactions it says %q", f.Text)
		}
	}
}

// withFeature has a fake cluster's brokers tell another version of transactions.
func withFeature(fake *kfake.Cluster) *atomic.Pointer[wire.Feature] {
	feature := new(atomic.Pointer[wire.Feature])
	fake.ControlKey(int16(kmsg.ApiVersions), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		if r.(*kmsg.ApiVersionsRequest).ClientSoftwareName != "leat" { // sarama asks which requests there are
			return nil, nil, false
		}
		res := r.ResponseKind().(*kmsg.ApiVersionsResponse)
		x := feature.Load()
		if x.Supported > 0 {
			s := kmsg.NewApiVersionsResponseSupportedFeature()
			s.Name, s.MaxVersion = wire.TransactionVersion, x.Supported
			res.SupportedFeatures = append(res.SupportedFeatures, s)
		}
		if x.Level > 0 {
			f := kmsg.NewApiVersionsResponseFinalizedFeature()
			f.Name, f.MaxVersionLevel = wire.TransactionVersion, x.Level
			res.FinalizedFeatures = append(res.FinalizedFeatures, f)
		}
		return res, nil, true
	})
	return feature
}

// Any broker may be the coordinator: the lowest maximum counts.
func TestTransactionTimeout(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	fake := p.fake.Fake()
	fake.ControlKey(int16(kmsg.DescribeConfigs), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		asked := r.(*kmsg.DescribeConfigsRequest).Resources
		if len(asked) != 1 || asked[0].ResourceType != kmsg.ConfigResourceTypeBroker || fake.CurrentNode() != 0 {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.DescribeConfigsResponse)
		res := kmsg.NewDescribeConfigsResponseResource()
		res.ResourceType, res.ResourceName = asked[0].ResourceType, asked[0].ResourceName
		conf := kmsg.NewDescribeConfigsResponseResourceConfig()
		conf.Name, conf.Value = "transaction.max.timeout.ms", kmsg.StringPtr("20000")
		res.Configs = append(res.Configs, conf)
		resp.Resources = append(resp.Resources, res)
		return resp, nil, true
	})
	for _, x := range []struct {
		timeout time.Duration
		want    []string
	}{
		{0, nil}, // 15 s
		{20 * time.Second, nil},
		{20*time.Second + time.Millisecond, []string{"fault transaction-timeout "}},
	} {
		s := p.settings
		s.Config.Producer.TransactionTimeout = x.timeout
		found(t, check(t, s), x.want...)
	}
	s := p.settings
	s.Config.CommitInterval = 8 * time.Second // three of them
	found(t, check(t, s), "fault transaction-timeout ")
	s = doctor.Settings{Config: kafka.Config{Brokers: p.fake.Brokers()}, TransactionalID: "mine"} // 60 s
	found(t, check(t, s), "fault transaction-timeout ")
	s.TransactionalID = "" // no transactions
	found(t, check(t, s))
}

// It only asks, and asks nothing that has a cluster create or change something.
func TestOnlyQuestions(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	p.Produce(keyed("out", 10, byKey)...)
	sent := checktest.Watch(p.fake.Fake())
	found(t, check(t, p.settings))
	allowed := []string{
		"ApiVersions", "ConsumerGroupDescribe", "DescribeConfigs", "DescribeGroups", "DescribeTransactions", "Fetch", "ListOffsets", "Metadata",
	}
	// The test's own client offers its metrics when it likes.
	got := slices.DeleteFunc(sent(), func(name string) bool { return strings.HasSuffix(name, "TelemetrySubscriptions") })
	if !slices.Equal(got, allowed) {
		t.Errorf("it sent %v, not %v", got, allowed)
	}
}
