package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/sr/srfake"
)

// Cluster is a running Kafka with its Schema Registry. [Start] makes it, [Cluster.Close] ends it.
// Its methods are safe for concurrent use.
type Cluster struct {
	kafka    *kfake.Cluster
	brokers  []string
	log      *failureLog
	registry *registry

	closing  sync.Once
	closeErr error
}

// Start starts Kafka and a Schema Registry as config says and returns when both answer and all
// topics exist. The caller owns the cluster and must Close it, also so that DataDir is complete.
//
// On an error nothing is left running. The error is of a kind listed with [ErrInvalidConfig], or
// the operating system's. With DataDir the time it takes grows with the data kept there.
func Start(config Config) (*Cluster, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	kafkaDir, schemas := "", ""
	if config.DataDir != "" {
		kafkaDir, schemas = filepath.Join(config.DataDir, "kafka"), filepath.Join(config.DataDir, "schemas.json")
		if err := os.MkdirAll(kafkaDir, 0o755); err != nil {
			return nil, fmt.Errorf("embedded: create data directory: %w", err)
		}
	}

	// The registry goes first: schemas that cannot be restored stop the start before kfake opens,
	// and perhaps rewrites, the kept topics.
	registry, err := startRegistry(config.RegistryPort, schemas)
	if err != nil {
		return nil, err
	}
	log := &failureLog{next: config.Logger}
	kafka, err := kfake.NewCluster(kafkaOptions(config, kafkaDir, log)...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("embedded: start Kafka: %w", err), registry.close())
	}
	c := &Cluster{kafka: kafka, brokers: kafka.ListenAddrs(), log: log, registry: registry}
	for _, topic := range config.Topics {
		if err := ensureTopic(kafka, topic); err != nil {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func kafkaOptions(config Config, dir string, log kfake.Logger) []kfake.Opt {
	// Creating topics automatically is off in kfake unless asked for, and is never asked for here.
	options := []kfake.Opt{kfake.Ports(config.brokerPorts()...), kfake.WithLogger(log)}
	if dir != "" {
		options = append(options, kfake.DataDir(dir))
	}
	if config.SyncWrites {
		options = append(options, kfake.SyncWrites())
	}
	return append(options, config.Options...)
}

// ensureTopic calls kfake directly rather than as a client, so that it works whatever SASL, TLS or
// ACLs the options ask of clients.
func ensureTopic(kafka *kfake.Cluster, topic Topic) error {
	want := max(topic.Partitions, 1)
	if kafka.TopicInfo(topic.Name) != nil {
		if have := len(kafka.PartitionInfos(topic.Name)); have != want {
			return fmt.Errorf("%w: topic %q has %d partitions, %d are asked for", ErrTopicDiffers, topic.Name, have, want)
		}
		return nil
	}
	if err := kafka.CreateTopic(topic.Name, int32(want), topic.Config); err != nil {
		return fmt.Errorf("embedded: create topic %q: %w", topic.Name, err)
	}
	return nil
}

// Brokers returns the addresses of all brokers as "127.0.0.1:port", in the order of their node
// ids: the bootstrap addresses of a client. The slice is the caller's.
func (c *Cluster) Brokers() []string { return append([]string(nil), c.brokers...) }

// RegistryURL returns the base URL of the Schema Registry, without a slash at its end.
func (c *Cluster) RegistryURL() string { return c.registry.url }

// Fake returns the fake Kafka itself: to inject faults, move partitions, look into groups. It lives
// as long as the cluster; closing it is the cluster's business.
func (c *Cluster) Fake() *kfake.Cluster { return c.kafka }

// Registry returns the fake registry itself: to intercept requests, for example to answer that it
// is down, or to seed schemas. With DataDir, only changes made by requests to RegistryURL are kept,
// not those made by the returned value's methods, and an interceptor must not itself answer a
// request for a change with success, or a change that never was is kept.
func (c *Cluster) Registry() *srfake.Registry { return c.registry.fake }

// Close stops Kafka and the registry, cuts their connections, and completes what DataDir keeps. It
// waits for the registry's handlers, so an interceptor must return when its request's context ends.
// Calling it again is safe, waits for the first call and returns the same error: nil, or why
// something may be missing from DataDir.
func (c *Cluster) Close() error {
	c.closing.Do(func() {
		registryErr := c.registry.close()
		c.log.watchClose()
		c.kafka.Close()
		c.closeErr = errors.Join(c.log.failures(), registryErr)
	})
	return c.closeErr
}

// failureLog passes kfake's log on and, once the cluster closes, keeps what it logs as errors: that
// is the only way kfake tells that it could not write its state.
type failureLog struct {
	next kfake.Logger // nil for silence

	mu      sync.Mutex
	closing bool
	errs    []error
}

// Logf implements [kfake.Logger].
func (l *failureLog) Logf(level kfake.LogLevel, format string, args ...any) {
	if l.next != nil {
		l.next.Logf(level, format, args...)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing && level == kfake.LogLevelError {
		l.errs = append(l.errs, fmt.Errorf("embedded: close Kafka: "+format, args...))
	}
}

func (l *failureLog) watchClose() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
}

func (l *failureLog) failures() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.errs...)
}
