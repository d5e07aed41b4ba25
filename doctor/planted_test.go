package doctor_test

import (
	"hash/crc32"
	"maps"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// A sound cluster: nothing is wrong, everything is visible, and every check ran.
func TestNothingOnASoundCluster(t *testing.T) {
	t.Parallel()
	checktest.NoLeaks(t, "leat/doctor", "leat/internal/cluster")
	p := admit(t, soundConfig())
	createWith(t, p.fake.Brokers(), "dlq", 3, map[string]string{"message.timestamp.type": "LogAppendTime"})
	p.settings.Outputs, p.settings.DeadLetters = append(p.settings.Outputs, "dlq"), []string{"dlq"}
	p.Produce(keyed("out", 300, func(key []byte) int32 { return murmur2.Partition(key, partitions) })...)
	report := check(t, p.settings)
	found(t, report)
	noError(t, report.Err(), "a sound cluster")
	ran := map[string]bool{}
	for _, f := range report.Findings {
		ran[f.Check] = true
	}
	for _, name := range doctor.Checks() {
		if !ran[name] && name != doctor.CheckGroupActive && name != doctor.CheckState { // of an empty group, of no stage with state
			t.Errorf("check %s did not run", name)
		}
	}
	says(t, report, doctor.CheckPartitioner, "murmur2 explains 300 of 300 keys", "")
}

// as is the user of a cluster with rights.
var as = kafka.SASL{Mechanism: "PLAIN", User: "u", Password: kafka.SecretOf("secret"), AllowWithoutTLS: true}

func right(resource kmsg.ACLResourceType, name string, op kmsg.ACLOperation) kfake.ACL {
	return kfake.ACL{Resource: resource, Name: name, Pattern: kmsg.ACLResourcePatternTypeLiteral, Operation: op, Allow: true}
}

// rights are the least of a pipeline, and those to see settings.
func rights() []kfake.ACL {
	return []kfake.ACL{
		right(kmsg.ACLResourceTypeTopic, "in", kmsg.ACLOperationRead),
		right(kmsg.ACLResourceTypeTopic, "out", kmsg.ACLOperationWrite),
		right(kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationRead),
		right(kmsg.ACLResourceTypeTransactionalId, "leat-g-a-0", kmsg.ACLOperationWrite),
		right(kmsg.ACLResourceTypeTopic, "out", kmsg.ACLOperationRead),
		right(kmsg.ACLResourceTypeTopic, "out", kmsg.ACLOperationDescribeConfigs),
		right(kmsg.ACLResourceTypeCluster, "kafka-cluster", kmsg.ACLOperationDescribeConfigs),
		right(kmsg.ACLResourceTypeTopic, "__consumer_offsets", kmsg.ACLOperationDescribe),
		right(kmsg.ACLResourceTypeTopic, "__transaction_state", kmsg.ACLOperationDescribe),
	}
}

// withRights starts a cluster that gives the user some rights.
func withRights(t *testing.T, acls []kfake.ACL, more ...kfake.Opt) *patient {
	t.Helper()
	cfg := soundConfig()
	cfg.Options = append(cfg.Options, more...)
	cfg.Options = append(cfg.Options, kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("PLAIN", "root", "secret"), kfake.User("PLAIN", "u", "secret", acls...))
	p := admit(t, cfg, kgo.SASL(plain.Auth{User: "root", Pass: "secret"}.AsMechanism()))
	p.settings.Config.SASL = as
	return p
}

// plant is one fault on a cluster that is sound otherwise.
type plant struct {
	config func(*embedded.Config)     // before the start
	fault  func(*testing.T, *patient) // after it
	want   string
	says   []string // the check, what it says, and what to change
}

// newOut replaces the topic out.
func newOut(replicas int16, settings map[string]string) plant {
	return plant{
		config: func(c *embedded.Config) { c.Topics = c.Topics[:1] },
		fault:  func(t *testing.T, p *patient) { createWith(t, p.fake.Brokers(), "out", replicas, settings) },
	}
}

// retryTopic adds a retry topic with a delay of an hour, or one of marks.
func retryTopic(name string, settings map[string]string) plant {
	return plant{fault: func(t *testing.T, p *patient) {
		settings := maps.Clone(settings)
		settings["min.insync.replicas"] = "2"
		createWith(t, p.fake.Brokers(), name, 3, settings)
		p.settings.Outputs = append(p.settings.Outputs, name)
		if name == "marks" {
			p.settings.Tables, p.settings.Marks = []string{name}, []string{name}
		} else {
			p.settings.Inputs = append(p.settings.Inputs, name)
			p.settings.Retries = []pipeline.RetryTier{{Topic: name, Delay: time.Hour}}
		}
	}}
}

func (x plant) finds(want string, says ...string) plant {
	x.want, x.says = want, says
	return x
}

var plants = map[string]plant{
	"compression": newOut(3, map[string]string{"compression.type": "gzip"}).finds("warning compression out",
		doctor.CheckCompression, "compression.type=gzip, but the producer sends lz4", "compression.type=producer"),
	"min ISR": newOut(3, map[string]string{"min.insync.replicas": "1"}).finds("fault min-isr out",
		doctor.CheckMinISR, "degrades to acks=1", "min.insync.replicas=2"),
	"RF": newOut(1, map[string]string{"min.insync.replicas": "1"}).finds("fault replication out",
		doctor.CheckReplication, "replication factor 1;", "3 replicas"),
	"message size": newOut(3, map[string]string{"max.message.bytes": "100000"}).finds("fault message-size out",
		doctor.CheckMessageSize, "BatchSize is 131072", "max.message.bytes=1048588"),
	"a retry topic that forgets": retryTopic("retry", map[string]string{"retention.ms": "60000"}).finds("fault cleanup retry",
		doctor.CheckCleanup, "retention.ms=60000: records may be deleted before they are due, after 1h0m0s", "retention.ms=-1"),
	"a retry topic that is compacted": retryTopic("retry", map[string]string{"cleanup.policy": "compact"}).finds("fault cleanup retry",
		doctor.CheckCleanup, "records that wait to be retried are dropped", "cleanup.policy=delete"),
	"marks that are not compacted": retryTopic("marks", map[string]string{"cleanup.policy": "compact,delete"}).finds("fault cleanup marks",
		doctor.CheckCleanup, "records overtake others of their key", "cleanup.policy=compact"),
	"partitioner": {
		fault: func(_ *testing.T, p *patient) {
			p.Produce(keyed("out", 300, func(key []byte) int32 { return int32(crc32.ChecksumIEEE(key) % partitions) })...)
		},
		want: "warning partitioner out",
		says: []string{doctor.CheckPartitioner, "what does is crc32, librdkafka's default", "partitioner=murmur2_random"},
	},
	"transaction time-out": {
		config: func(c *embedded.Config) {
			c.Options = append(c.Options, kfake.BrokerConfigs(map[string]string{"transaction.max.timeout.ms": "10000"}))
		},
		want: "fault transaction-timeout ",
		says: []string{doctor.CheckTransactionTimeout, "TransactionTimeout is 15s, and brokers allow 10s", "to 10s at most"},
	},
	"missing topic": {
		config: func(c *embedded.Config) { c.Topics = c.Topics[:1] },
		want:   "fault topics out",
		says:   []string{doctor.CheckTopics, "does not exist", "--create --topic out"},
	},
	"unreachable broker": {
		fault: func(t *testing.T, p *patient) {
			addr := nobody(t)
			p.settings.Config.Brokers = append(p.settings.Config.Brokers, addr)
			p.t.Logf("nobody at %s", addr)
		},
		want: "fault brokers *",
		says: []string{doctor.CheckBrokers, "refused", "start the broker"},
	},
	"old broker": {
		config: func(c *embedded.Config) { c.Options = append(c.Options, kfake.MaxVersions(kversion.V2_3_0())) },
		want:   "fault versions *",
		says:   []string{doctor.CheckVersions, "Kafka 2.3 does not take the requests that are needed: Produce 8 (Kafka 2.4)", "upgrade"},
	},
	"wrong schema compatibility": {
		fault: func(t *testing.T, p *patient) {
			p.fake.Registry().SeedSchema("out-value", 1, 1, sr.Schema{Schema: `"string"`})
			noError(t, p.fake.Registry().SetCompat("out-value", sr.CompatNone), "set NONE")
		},
		want: "fault schema out-value",
		says: []string{doctor.CheckSchema, "level is NONE", "/config/out-value"},
	},
	"group already active elsewhere": {
		fault: func(_ *testing.T, p *patient) { p.JoinAndDie("g", "elsewhere", "in", 0) },
		want:  "warning group-active g",
		says:  []string{doctor.CheckGroupActive, "workers are active already: checktest at 127.0.0.1", "stop them"},
	},
}

func TestPlantedFaults(t *testing.T) {
	t.Parallel()
	for name, x := range plants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := soundConfig()
			if x.config != nil {
				x.config(&cfg)
			}
			p := admit(t, cfg)
			if x.fault != nil {
				x.fault(t, p)
			}
			report := check(t, p.settings)
			if report.Err() == nil {
				t.Error("Err is nil")
			}
			switch name {
			case "unreachable broker":
				addrs := p.settings.Config.Brokers
				found(t, report, "fault brokers "+addrs[len(addrs)-1])
			case "old broker": // and what such a broker cannot tell
				want := []string{"not visible transactional-id leat-g-a-0"}
				for _, addr := range p.fake.Brokers() {
					want = append(want, "fault versions "+addr)
				}
				found(t, report, want...)
			default:
				found(t, report, x.want)
			}
			says(t, report, x.says[0], x.says[1], x.says[2])
		})
	}
}

// The twelfth fault, in each of the rights that a pipeline needs. With all of them the
// least user is sound.
func TestPlantedMissingACL(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		without int // of rights; none if it is none of them
		add     []kfake.ACL
		want    []string
		change  string
	}{
		"none": {without: -1},
		"write": {
			without: 1, want: []string{"fault acls out"},
			change: "--add --allow-principal User:u --operation Write --topic out",
		},
		"read": { // who may not read may not see it either
			without: 0, want: []string{"fault acls in"},
			change: "--add --allow-principal User:u --operation Read --topic in",
		},
		"read, seen": {
			without: 0, want: []string{"fault acls in"},
			add:    []kfake.ACL{right(kmsg.ACLResourceTypeTopic, "in", kmsg.ACLOperationDescribe)},
			change: "--add --allow-principal User:u --operation Read --topic in",
		},
		"group": {
			without: 2, want: []string{"fault acls g"},
			change: "--add --allow-principal User:u --operation Read --group g",
		},
		"group, seen": {
			without: 2, want: []string{"fault acls g"},
			add:    []kfake.ACL{right(kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationDescribe)},
			change: "--add --allow-principal User:u --operation Read --group g",
		},
		"transactional id": {
			without: 3, want: []string{"fault acls leat-g-a-0"},
			change: "--add --allow-principal User:u --operation Write --transactional-id leat-g-a-0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			acls := rights()
			if x.without >= 0 {
				acls = append(acls[:x.without:x.without], acls[x.without+1:]...)
			}
			p := withRights(t, append(acls, x.add...))
			report := check(t, p.settings)
			want := x.want
			if x.without != 3 { // that it may write brokers do not tell
				want = append(want, "not visible acls leat-g-a-0")
			}
			found(t, report, want...)
			if x.change != "" {
				says(t, report, doctor.CheckACLs, "", x.change)
			}
		})
	}
}

// What the user may not see is said, with the right that is missing, and is not wrong.
func TestNotVisible(t *testing.T) {
	t.Parallel()
	p := withRights(t, rights()[:4])
	p.Produce(keyed("out", 30, func([]byte) int32 { return 0 })...)
	report := check(t, p.settings)
	want := []string{
		"not visible replication __consumer_offsets", "not visible replication __transaction_state",
		"not visible acls leat-g-a-0", "not visible min-isr out", "not visible message-size out", "not visible compression out", "not visible partitioner out",
	}
	for _, addr := range p.fake.Brokers() {
		want = append(want, "not visible transaction-timeout "+addr)
	}
	found(t, report, want...)
	noError(t, report.Err(), "what is not visible")
	for _, name := range []string{doctor.CheckMinISR, doctor.CheckMessageSize, doctor.CheckCompression} {
		says(t, report, name, "cannot be seen", "--operation DescribeConfigs --topic out")
	}
	says(t, report, doctor.CheckPartitioner, "cannot be read", "--operation Read --topic out")
	says(t, report, doctor.CheckTransactionTimeout, "cannot be seen", "--operation DescribeConfigs --cluster")
}

// Retry topics as they should be are fine, and those of a pipeline are looked at.
func TestRetryTopicsThatAreFine(t *testing.T) {
	t.Parallel()
	p := admit(t, soundConfig())
	one := map[string]string{"min.insync.replicas": "2", "message.timestamp.type": "LogAppendTime"}
	createWith(t, p.fake.Brokers(), "in.retry", 3, one)
	createWith(t, p.fake.Brokers(), "dlq", 3, one)
	createWith(t, p.fake.Brokers(), "in.retry.marks", 3, map[string]string{"min.insync.replicas": "2", "cleanup.policy": "compact"})
	graph := pipeline.New("g", pipeline.DeadLetter("dlq"), pipeline.OnError(pipeline.RetryLater))
	pipeline.To(pipeline.From(graph, "in", serde.Bytes(), pipeline.RetryInOrder(time.Hour)), "out", serde.Bytes())
	report := check(t, doctor.Of(graph, p.settings.Config))
	found(t, report)
	says(t, report, doctor.CheckCleanup, "records that wait stay for 168h0m0s", "")
	says(t, report, doctor.CheckCleanup, "the marks of keys that wait stay", "")
}
