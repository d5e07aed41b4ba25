package doctor_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/doctor"
	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/checktest"
	"github.com/leat-stream/leat/serde/registry"
	"github.com/leat-stream/leat/sinks/kafka"
)

func noError(t testing.TB, err error, doing string) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}

// check runs the checks on a cluster that answers.
func check(t testing.TB, s doctor.Settings) *doctor.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	report, err := doctor.Check(ctx, s)
	noError(t, err, "check")
	return report
}

// titles are the findings of some verdicts: verdict, check and subject.
func titles(report *doctor.Report, verdicts ...doctor.Verdict) []string {
	out := []string{}
	for _, f := range report.Findings {
		if slices.Contains(verdicts, f.Verdict) {
			out = append(out, fmt.Sprintf("%s %s %s", f.Verdict, f.Check, f.Subject))
		}
	}
	slices.Sort(out)
	return out
}

// found asserts everything that is not fine.
func found(t testing.TB, report *doctor.Report, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := titles(report, doctor.Fault, doctor.Warning, doctor.NotVisible); !slices.Equal(got, want) {
		t.Errorf("found\n\t%s\nwant\n\t%s\nin\n%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"), table(t, report))
	}
}

// says asserts that a finding of the check says something, and what to change.
func says(t testing.TB, report *doctor.Report, check, text, change string) {
	t.Helper()
	for _, f := range report.Findings {
		if f.Check == check && strings.Contains(f.Text, text) && strings.Contains(f.Change, change) {
			return
		}
	}
	t.Errorf("no finding of %s with %q and the change %q in\n%s", check, text, change, table(t, report))
}

func table(t testing.TB, report *doctor.Report) string {
	t.Helper()
	var b strings.Builder
	noError(t, report.WriteTable(&b), "write the table")
	return b.String()
}

// patient is a sound cluster: three brokers, a registry, and topics in and out.
type patient struct {
	*checktest.Client
	t        testing.TB
	fake     *embedded.Cluster
	settings doctor.Settings
}

const partitions = 6

func soundConfig() embedded.Config {
	return embedded.Config{
		Brokers: 3,
		Topics:  []embedded.Topic{{Name: "in", Partitions: partitions}, {Name: "out", Partitions: partitions}},
		Options: []kfake.Opt{kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "2"})},
	}
}

func admit(t testing.TB, cfg embedded.Config, opts ...kgo.Opt) *patient {
	t.Helper()
	fake, err := embedded.Start(cfg)
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, fake.Close(), "close the cluster") })
	client, err := registry.New(registry.Config{URLs: []string{fake.RegistryURL()}})
	noError(t, err, "registry")
	return &patient{checktest.Dial(t, fake.Brokers(), opts...), t, fake, doctor.Settings{
		Config: kafka.Config{Brokers: fake.Brokers(), Group: "g", Instance: "a"},
		Inputs: []string{"in"}, Outputs: []string{"out"}, Registry: client,
	}}
}

// createWith creates a topic with a replication factor, as checktest's client cannot.
func createWith(t testing.TB, brokers []string, topic string, replicas int16, settings map[string]string) {
	t.Helper()
	k, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	noError(t, err, "client")
	defer k.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = topic, partitions, replicas
	for name, value := range settings {
		conf := kmsg.NewCreateTopicsRequestTopicConfig()
		conf.Name, conf.Value = name, &value
		rt.Configs = append(rt.Configs, conf)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), k)
	noError(t, err, "create "+topic)
	noError(t, kerr.ErrorForCode(resp.Topics[0].ErrorCode), "create "+topic)
}

// nobody is an address at which nobody listens.
func nobody(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err, "listen")
	defer l.Close()
	return l.Addr().String()
}

// keyed makes records whose partition f chooses.
func keyed(topic string, n int, f func(key []byte) int32) []*kgo.Record {
	var out []*kgo.Record
	for i := range n {
		key := fmt.Appendf(nil, "key-%d", i)
		out = append(out, checktest.To(f(key), &kgo.Record{Topic: topic, Key: key, Value: []byte("v")}))
	}
	return out
}
