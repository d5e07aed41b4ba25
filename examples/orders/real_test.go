//go:build real

package main

import (
	"crypto/rand"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/IBM/sarama"
)

// realServers returns the cluster and the registry of the environment. The
// example's topics have fixed names: those there are deleted, before and after.
func realServers(t *testing.T) (servers, sarama.ClusterAdmin) {
	t.Helper()
	s := servers{strings.Split(os.Getenv("LEAT_TEST_BROKERS"), ","), os.Getenv("LEAT_TEST_REGISTRY")}
	if s.brokers[0] == "" || s.registry == "" {
		t.Fatal("LEAT_TEST_BROKERS and LEAT_TEST_REGISTRY must name a Kafka and a schema registry for tests")
	}
	conf := sarama.NewConfig()
	conf.Metadata.AllowAutoTopicCreation = false
	admin, err := sarama.NewClusterAdmin(s.brokers, conf)
	check(t, err)
	deleteTopics(t, admin)
	t.Cleanup(func() {
		deleteTopics(t, admin)
		check(t, admin.Close())
	})
	return s, admin
}

func deleteTopics(t *testing.T, admin sarama.ClusterAdmin) {
	t.Helper()
	for _, topic := range topics {
		if err := admin.DeleteTopic(topic.Name); err != nil && !errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
			t.Fatalf("delete topic %q: %v", topic.Name, err)
		}
	}
}

func TestRealEveryOrderOnce(t *testing.T) {
	for _, delivery := range []string{"exactly-once", "at-least-once"} {
		t.Run(delivery, func(t *testing.T) {
			s, admin := realServers(t)
			flags := s.flags("-group", "orders-"+strings.ToLower(rand.Text()), "-until-end", "-delivery", delivery)
			mustRun(t, append(flags, "-create-topics")...)
			wantTopics(t, admin)
			produce(t, s, 20_000)

			began := time.Now()
			var workers sync.WaitGroup
			reports := make([]string, 2)
			for i, name := range []string{"a", "b"} {
				workers.Go(func() {
					code, stdout, stderr := orders(t, append(flags[:len(flags):len(flags)], "-instance", name)...)
					if code != 0 {
						t.Errorf("worker %s: exit %d, stderr:\n%s", name, code, stderr)
					}
					reports[i] = stdout
				})
			}
			workers.Wait()
			t.Logf("both done after %v%s%s", time.Since(began), reports[0], reports[1])
			a := audit(t, s)
			if a.in != 20_012 {
				t.Errorf("%d orders in the input", a.in)
			}
			// Another report of what is there, and nothing more to do.
			report := mustRun(t, flags...)
			wantReport(t, report, a)
			wantWords(t, report, "\n0 orders in ")
		})
	}
}

func wantTopics(t *testing.T, admin sarama.ClusterAdmin) {
	t.Helper()
	brokers, _, err := admin.DescribeCluster()
	check(t, err)
	found, err := admin.ListTopics()
	check(t, err)
	for _, topic := range topics {
		got := found[topic.Name]
		if got.NumPartitions != 4 || int(got.ReplicationFactor) != min(3, len(brokers)) {
			t.Errorf("topic %q: %d partitions, replication factor %d with %d brokers", topic.Name, got.NumPartitions, got.ReplicationFactor, len(brokers))
		}
		if policy := got.ConfigEntries["cleanup.policy"]; (policy != nil && *policy == "compact") != (topic.Name == "customers") {
			t.Errorf("topic %q: cleanup.policy %v", topic.Name, policy)
		}
	}
}
