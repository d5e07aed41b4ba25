//go:build three && unix

package doctor_test

import (
	"context"
	"hash/crc32"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/internal/cluster"
	"github.com/leat-stream/leat/internal/wire"
	"github.com/leat-stream/leat/sinks/kafka"
)

// ward is the real cluster of three with topics and a group of the test's own.
type ward struct {
	*checktest.Client
	t           testing.TB
	brokers     *checktest.Brokers
	in, out, id string
	settings    doctor.Settings
}

func realWard(t *testing.T, outReplicas int16, out map[string]string) *ward {
	t.Helper()
	three := checktest.OwnBrokers(t)
	w := &ward{Client: checktest.Dial(t, three.Addresses()), t: t, brokers: three}
	w.id = "doctor-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	w.in, w.out = w.id+"-in", w.id+"-out"
	w.CreateTopic(w.in, partitions, nil)
	if outReplicas == 3 {
		w.CreateTopic(w.out, partitions, out)
	} else if outReplicas > 0 {
		createWith(t, three.Addresses(), w.out, outReplicas, out)
		w.Await("the leaders of "+w.out, func() bool { return len(w.Ends(w.out, false)) == partitions })
	}
	w.settings = doctor.Settings{
		Config: kafka.Config{Brokers: three.Addresses(), Group: w.id, Instance: "a"},
		Inputs: []string{w.in}, Outputs: []string{w.out},
	}
	return w
}

// The twelve, but for those that a real cluster without rules of access, of today and
// without a registry cannot have; see TestPlantedFaults, and the tests with a registry.
func TestPlantedFaultsOnThree(t *testing.T) {
	for _, x := range []struct {
		name     string
		replicas int16 // of the output; 0 for no such topic
		out      map[string]string
		fault    func(*ward)
		want     func(*ward) []string
		says     []string
	}{
		{name: "none", replicas: 3, fault: func(w *ward) { w.Produce(keyed(w.out, 300, byKey)...) }},
		{
			name: "compression", replicas: 3, out: map[string]string{"compression.type": "zstd"},
			want: func(w *ward) []string { return []string{"warning compression " + w.out} },
			says: []string{doctor.CheckCompression, "compression.type=zstd, but the producer sends lz4", "compression.type=producer"},
		},
		{
			name: "min ISR", replicas: 3, out: map[string]string{"min.insync.replicas": "1"},
			want: func(w *ward) []string { return []string{"fault min-isr " + w.out} },
			says: []string{doctor.CheckMinISR, "degrades to acks=1", "min.insync.replicas=2"},
		},
		{
			name: "min ISR of all", replicas: 3, out: map[string]string{"min.insync.replicas": "3"},
			want: func(w *ward) []string { return []string{"fault min-isr " + w.out} },
			says: []string{doctor.CheckMinISR, "one broker that is down blocks writes", "min.insync.replicas=2"},
		},
		{
			name: "RF", replicas: 1,
			want: func(w *ward) []string { return []string{"fault replication " + w.out} },
			says: []string{doctor.CheckReplication, "replication factor 1;", "kafka-reassign-partitions.sh"},
		},
		{
			name: "message size", replicas: 3, out: map[string]string{"max.message.bytes": "100000"},
			want: func(w *ward) []string { return []string{"fault message-size " + w.out} },
			says: []string{doctor.CheckMessageSize, "max.message.bytes=100000, but BatchSize is 131072", "max.message.bytes=1048588"},
		},
		{
			name: "partitioner", replicas: 3,
			fault: func(w *ward) {
				w.Produce(keyed(w.out, 1500, func(key []byte) int32 { return int32(crc32.ChecksumIEEE(key) % partitions) })...)
				w.ProduceTransaction(false, keyed(w.out, 100, byKey)...) // aborted
			},
			want: func(w *ward) []string { return []string{"warning partitioner " + w.out} },
			says: []string{doctor.CheckPartitioner, "what does is crc32", "murmur2_random"},
		},
		{
			name: "transaction time-out", replicas: 3,
			fault: func(w *ward) { w.settings.Config.Producer.TransactionTimeout = time.Hour },
			want:  func(*ward) []string { return []string{"fault transaction-timeout "} },
			says:  []string{doctor.CheckTransactionTimeout, "TransactionTimeout is 1h0m0s, and brokers allow 15m0s", "transaction.max.timeout.ms to 3600000"},
		},
		{
			name: "missing topic",
			want: func(w *ward) []string { return []string{"fault topics " + w.out} },
			says: []string{doctor.CheckTopics, "does not exist", "--create --topic"},
		},
		{
			name: "unreachable broker", replicas: 3,
			fault: func(w *ward) {
				w.settings.Config.Brokers = append(slices.Clone(w.settings.Config.Brokers), nobody(w.t))
			},
			want: func(w *ward) []string { return []string{"fault brokers " + w.settings.Config.Brokers[3]} },
			says: []string{doctor.CheckBrokers, "refused", "start the broker"},
		},
		{
			name: "group already active elsewhere", replicas: 3,
			fault: func(w *ward) { w.JoinAndDie(w.id, "elsewhere", w.in, 0) },
			want:  func(w *ward) []string { return []string{"warning group-active " + w.id} },
			says:  []string{doctor.CheckGroupActive, "(instance elsewhere)", "stop them first"},
		},
		{
			name: "our instance is active elsewhere", replicas: 3,
			fault: func(w *ward) { w.JoinAndDie(w.id, "a", w.in, 0) },
			want:  func(w *ward) []string { return []string{"fault group " + w.id} },
			says:  []string{doctor.CheckGroup, "instance a is a member already", "stop that worker"},
		},
		{
			name: "a group of range", replicas: 3,
			fault: func(w *ward) { w.consume(kgo.Balancers(kgo.RangeBalancer())) },
			want:  func(w *ward) []string { return []string{"fault group " + w.id} },
			says:  []string{doctor.CheckGroup, "by range, and we by cooperative-sticky", "another group"},
		},
		{
			name: "a group of KIP-848", replicas: 3,
			fault: func(w *ward) { w.consume(kgo.ServerSideBalancer()) },
			want:  func(w *ward) []string { return []string{"fault group " + w.id} },
			says:  []string{doctor.CheckGroup, "KIP-848", "another group"},
		},
		{
			name: "an open transaction", replicas: 3,
			fault: func(w *ward) {
				k, err := kgo.NewClient(kgo.SeedBrokers(w.brokers.Addresses()...), kgo.TransactionalID("leat-"+w.id+"-a-0"))
				noError(w.t, err, "client")
				w.t.Cleanup(k.Close)
				noError(w.t, k.BeginTransaction(), "begin")
				noError(w.t, k.ProduceSync(w.t.Context(), &kgo.Record{Topic: w.out, Value: []byte("v")}).FirstErr(), "produce")
			},
			want: func(w *ward) []string { return []string{"warning transactional-id leat-" + w.id + "-a-0"} },
			says: []string{doctor.CheckTransactionalID, "(Ongoing, producer ", "stop the producer"},
		},
		{
			name: "an old version of transactions", replicas: 3,
			fault: func(w *ward) {
				w.transactionVersion(1, safeDowngrade)
				w.t.Cleanup(func() { w.transactionVersion(2, upgrade) })
			},
			want: func(*ward) []string { return []string{"warning transaction-version "} },
			says: []string{doctor.CheckTransactionVersion, "version 1, though all brokers can do version 2", "kafka-features.sh"},
		},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := realWard(t, x.replicas, x.out)
			if x.fault != nil {
				x.fault(w)
			}
			report := check(t, w.settings)
			if x.want == nil {
				found(t, report)
				noError(t, report.Err(), "a sound cluster")
				return
			}
			found(t, report, x.want(w)...)
			says(t, report, x.says[0], x.says[1], x.says[2])
			t.Logf("\n%s", table(t, report))
		})
	}
}

// The types of an update of a feature (KIP-778).
const (
	upgrade       = 1
	safeDowngrade = 2
)

// transactionVersion sets the version of transactions and returns when all brokers know it.
func (w *ward) transactionVersion(level int16, kind int8) {
	w.t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(w.brokers.Addresses()...))
	noError(w.t, err, "client")
	defer k.Close()
	req := kmsg.NewPtrUpdateFeaturesRequest()
	u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	u.Feature, u.MaxVersionLevel, u.UpgradeType = wire.TransactionVersion, level, kind
	req.FeatureUpdates = append(req.FeatureUpdates, u)
	ctx := context.WithoutCancel(w.t.Context()) // it is called in a Cleanup, too
	res, err := req.RequestWith(ctx, k)
	noError(w.t, err, "update")
	noError(w.t, kerr.ErrorForCode(res.ErrorCode), "update")
	w.Await("the version of transactions to be known", func() bool {
		for _, addr := range w.brokers.Addresses() {
			can, err := cluster.AbilitiesOf(ctx, cluster.Config{Brokers: w.brokers.Addresses()}, addr)
			if err != nil || can.Transactions.Level != level {
				return false
			}
		}
		return true
	})
}

func (w *ward) consume(opts ...kgo.Opt) {
	w.t.Helper()
	k, err := kgo.NewClient(append(opts, kgo.SeedBrokers(w.brokers.Addresses()...), kgo.ConsumerGroup(w.id), kgo.ConsumeTopics(w.in))...)
	noError(w.t, err, "client")
	w.t.Cleanup(k.Close)
	w.Produce(keyed(w.in, 1, byKey)...)
	if fetches := k.PollFetches(w.t.Context()); fetches.Err() != nil || fetches.NumRecords() != 1 {
		w.t.Fatalf("poll: %d records, %v", fetches.NumRecords(), fetches.Err())
	}
}

// A broker that stands still is found, and holds up nothing else for long: what it alone
// knows is not visible, and what is behind is said of the topics.
func TestFrozenBroker(t *testing.T) {
	w := realWard(t, 3, nil)
	w.brokers.Stop(3)
	addr := w.brokers.Addresses()[2]
	w.Await("broker 3 to stand still", func() bool { // its threads stop one after the other
		soon, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := cluster.AbilitiesOf(soon, cluster.Config{Brokers: w.brokers.Addresses()}, addr)
		return err != nil
	})
	began := time.Now()
	report := check(t, w.settings)
	took := time.Since(began)
	w.brokers.Wake(3)
	if !slices.Contains(titles(report, doctor.Fault), "fault brokers "+addr) {
		t.Errorf("it does not find broker 3:\n%s", table(t, report))
	}
	for _, f := range report.Wrong() {
		if f.Check != doctor.CheckBrokers && f.Check != doctor.CheckTopics {
			t.Errorf("it finds %s %s: %s", f.Check, f.Subject, f.Text)
		}
	}
	if took > 45*time.Second {
		t.Errorf("it took %v", took)
	}
	t.Logf("%v\n%s", took, table(t, report))
}
