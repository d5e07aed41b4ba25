package embedded_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
)

func TestTransactionsCommitAndAbort(t *testing.T) {
	cluster := start(t, embedded.Config{Brokers: 3, Topics: []embedded.Topic{{Name: "orders", Partitions: 1}}})
	producer := transactional(t, cluster)

	for i := range 3 {
		inTransaction(t, producer, "orders", fmt.Sprintf("kept-%d", i), producer.CommitTxn)
		inTransaction(t, producer, "orders", fmt.Sprintf("dropped-%d", i), producer.AbortTxn)
	}

	want := []string{"kept-0", "kept-1", "kept-2"}
	if got := readCommitted(t, cluster, "orders", len(want)); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}

func TestPortsAreHonoured(t *testing.T) {
	ports := freePorts(t, 3)
	cluster := start(t, embedded.Config{Ports: ports[:2], RegistryPort: ports[2]})

	want := []string{fmt.Sprintf("127.0.0.1:%d", ports[0]), fmt.Sprintf("127.0.0.1:%d", ports[1])}
	if got := cluster.Brokers(); !slices.Equal(got, want) {
		t.Errorf("brokers %q, want %q", got, want)
	}
	if got, want := cluster.RegistryURL(), fmt.Sprintf("http://127.0.0.1:%d", ports[2]); got != want {
		t.Errorf("registry %q, want %q", got, want)
	}
	if got := len(client(t, cluster, nil).Brokers()); got != 2 {
		t.Errorf("a client sees %d brokers, want 2", got)
	}
}

func TestATakenPortFailsAndLeavesNothingRunning(t *testing.T) {
	taken := listen(t)
	ports := freePorts(t, 1)

	_, err := embedded.Start(embedded.Config{Ports: []int{portOf(taken)}, RegistryPort: ports[0]})
	var opErr *net.OpError
	if !errors.As(err, &opErr) {
		t.Fatalf("Start on a taken port: %v, want a *net.OpError", err)
	}
	// The registry had been started before Kafka failed: its port must be free again.
	start(t, embedded.Config{RegistryPort: ports[0]})

	if _, err := embedded.Start(embedded.Config{RegistryPort: portOf(taken)}); !errors.As(err, &opErr) {
		t.Errorf("Start with a taken registry port: %v, want a *net.OpError", err)
	}
}

func TestAMissingTopicIsNotCreated(t *testing.T) {
	cluster := start(t, embedded.Config{})
	producer, err := sarama.NewSyncProducerFromClient(client(t, cluster, func(config *sarama.Config) {
		config.Metadata.AllowAutoTopicCreation = true
		config.Metadata.Retry.Max = 1
		config.Metadata.Retry.Backoff = 0
	}))
	noError(t, err, "producer")
	defer closed(t, producer)

	_, _, err = producer.SendMessage(&sarama.ProducerMessage{Topic: "missing", Value: sarama.StringEncoder("v")})
	if !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		t.Errorf("producing to a missing topic: %v, want ErrUnknownTopicOrPartition", err)
	}
	if cluster.Fake().TopicInfo("missing") != nil {
		t.Error("the topic was created")
	}
}

func TestTopicsHaveTheirSettings(t *testing.T) {
	cluster := start(t, embedded.Config{Topics: []embedded.Topic{
		{Name: "customers", Partitions: 4, Config: map[string]string{"cleanup.policy": "compact"}},
		{Name: "plain"},
	}})
	if got := len(cluster.Fake().PartitionInfos("customers")); got != 4 {
		t.Errorf("customers has %d partitions, want 4", got)
	}
	if got := cluster.Fake().TopicInfo("customers").Configs["cleanup.policy"]; got == nil || *got != "compact" {
		t.Errorf("cleanup.policy of customers is %v, want compact", got)
	}
	if got := len(cluster.Fake().PartitionInfos("plain")); got != 1 {
		t.Errorf("plain has %d partitions, want 1", got)
	}
}

func TestFaultsCanBeInjected(t *testing.T) {
	cluster := start(t, embedded.Config{Topics: []embedded.Topic{{Name: "orders"}}})
	producer := transactional(t, cluster)
	faults := cluster.Fake().Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "orders", Observe: true})

	inTransaction(t, producer, "orders", "v", producer.CommitTxn)
	if faults.Hits() == 0 {
		t.Error("the fault saw no produce request")
	}
}

func TestCloseTwice(t *testing.T) {
	cluster, err := embedded.Start(embedded.Config{})
	noError(t, err, "start")
	noError(t, cluster.Close(), "close")
	noError(t, cluster.Close(), "close again")
}

func TestCloseReportsStateThatCannotBeWritten(t *testing.T) {
	logger := new(countingLogger)
	config := embedded.Config{DataDir: t.TempDir(), Logger: logger}
	cluster, err := embedded.Start(config)
	noError(t, err, "start")
	// A file in the directory's place makes writing fail for every user, root included.
	dir := filepath.Join(config.DataDir, "kafka")
	noError(t, os.Rename(dir, dir+".moved"), "rename")
	noError(t, os.WriteFile(dir, nil, 0o600), "write")

	err = cluster.Close()
	if err == nil {
		t.Fatal("Close reported nothing")
	}
	if logger.lines.Load() == 0 {
		t.Error("nothing was passed on to the configured logger")
	}
	if again := cluster.Close(); !errors.Is(again, err) {
		t.Errorf("Close again: %v, want the same error as before: %v", again, err)
	}
}

type countingLogger struct{ lines atomic.Int64 }

func (l *countingLogger) Logf(kfake.LogLevel, string, ...any) { l.lines.Add(1) }
