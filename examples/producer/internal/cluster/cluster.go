// Package cluster gives the producer's examples a Kafka and a schema registry: in their
// own process, or those that the flags -brokers and -registry name.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/embedded"
)

var (
	brokers  = flag.String("brokers", "", "bootstrap `addresses` of a Kafka, comma separated (default: one in this process); topics named leat-example-… are deleted there, made and deleted again")
	registry = flag.String("registry", "", "`URL` of a schema registry, for the examples that need one (default: one in this process; required by them with -brokers)")
)

// Cluster is where an example writes to.
type Cluster struct {
	// Brokers are the bootstrap addresses.
	Brokers []string
	// Registry is the registry's URL; empty with -brokers and without -registry.
	Registry string

	own    *embedded.Cluster // nil with -brokers
	topics []embedded.Topic
}

// prefix begins every topic's name, so that a real cluster loses nothing else.
const prefix = "leat-example-"

const stopTimeout = 10 * time.Second

// Start starts a Kafka and a registry with the topics, or makes the topics, anew and with
// one replica, on the cluster of -brokers. The caller must Stop it.
func Start(ctx context.Context, topics ...embedded.Topic) (*Cluster, error) {
	flag.Parse()
	for _, t := range topics {
		if !strings.HasPrefix(t.Name, prefix) {
			return nil, fmt.Errorf("topic %q does not begin with %s: it would be deleted on a real cluster", t.Name, prefix)
		}
	}
	if *brokers == "" {
		return startEmbedded(topics)
	}
	c := &Cluster{Brokers: strings.Split(*brokers, ","), Registry: *registry, topics: topics}
	if err := c.makeTopics(ctx); err != nil {
		return nil, fmt.Errorf("make the topics at %s: %w", *brokers, err)
	}
	return c, nil
}

func startEmbedded(topics []embedded.Topic) (*Cluster, error) {
	if *registry != "" {
		return nil, errors.New("-registry needs -brokers; without it both are started in this process")
	}
	own, err := embedded.Start(embedded.Config{Topics: topics})
	if err != nil {
		return nil, fmt.Errorf("start the embedded Kafka: %w", err)
	}
	return &Cluster{Brokers: own.Brokers(), Registry: own.RegistryURL(), own: own, topics: topics}, nil
}

// Stop ends what Start has started, or deletes the topics.
func (c *Cluster) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var err error
	if c.own != nil {
		err = c.own.Close()
	} else {
		err = c.withClient(func(k *kgo.Client) error { return deleteTopics(ctx, k, c.topics) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "stop:", err)
	}
}

func (c *Cluster) withClient(f func(*kgo.Client) error, opts ...kgo.Opt) error {
	k, err := kgo.NewClient(append(opts, kgo.SeedBrokers(c.Brokers...))...)
	if err != nil {
		return err
	}
	defer k.Close()
	return f(k)
}
