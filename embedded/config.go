package embedded

import (
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Config says what [Start] starts. The zero value is one broker and a registry on free ports, with
// no topics, all in memory.
//
// A topic exists only if it is listed in Topics, was kept in DataDir, or a client creates it by a
// request for it: producing to, reading or asking for an unknown topic never creates it, as on a
// production cluster.
type Config struct {
	// Brokers is the number of brokers. Zero means one for each of Ports, and one if there are no
	// Ports either.
	Brokers int

	// Ports are the TCP ports of the brokers in the order of their node ids, one for each. A port
	// of zero, or no Ports at all, means a free one.
	Ports []int

	// RegistryPort is the TCP port of the Schema Registry. Zero means a free one.
	RegistryPort int

	// DataDir is a directory, created if missing, that keeps topics, groups, transactions and
	// schemas from one Start to the next; schemas keep their ids, so kept records stay decodable.
	// Empty means memory only: all is lost at Close. One cluster at a time may use a DataDir, and
	// nothing checks that.
	DataDir string

	// SyncWrites writes the records of each produce request to the disk (fsync) before the request
	// is answered, at a large cost in speed. Without it they survive the death of this process but
	// not of the machine. Schemas are always written to the disk first. Needs DataDir.
	SyncWrites bool

	// Topics are created before Start returns. One that DataDir kept is left as it is, settings
	// included; if its number of partitions differs, Start fails with [ErrTopicDiffers].
	Topics []Topic

	// Logger receives what kfake logs. It must be safe for concurrent use. Nil means silence.
	Logger kfake.Logger

	// Options are further options of kfake, such as [kfake.EnableSASL] or [kfake.TLS]. They are
	// applied last and must not set what the fields above set.
	Options []kfake.Opt
}

// Topic is a topic that [Start] creates.
type Topic struct {
	// Name is the topic's name: 1 to 249 of the characters a-z, A-Z, 0-9, '.', '_' and '-'.
	Name string

	// Partitions is the number of partitions. Zero means one.
	Partitions int

	// Config holds the topic's settings by their Kafka names, for example "cleanup.policy":
	// "compact". Nil means Kafka's defaults. Unlike a real Kafka, kfake accepts unknown names.
	Config map[string]string
}

// Validate reports every mistake in c at once, joined, each a *[ConfigError]; nil if there is none.
// It looks at nothing outside c: a port that is taken is found by [Start], which calls Validate first.
func (c Config) Validate() error {
	var errs []error
	mistake := func(field, format string, args ...any) {
		errs = append(errs, &ConfigError{Field: field, Problem: fmt.Sprintf(format, args...)})
	}

	if c.Brokers < 0 {
		mistake("Brokers", "%d is negative", c.Brokers)
	} else if c.Brokers > 0 && len(c.Ports) > 0 && c.Brokers != len(c.Ports) {
		mistake("Ports", "%d ports for %d brokers", len(c.Ports), c.Brokers)
	}
	takenBy := make(map[int]string)
	checkPort := func(field string, port int) {
		if port < 0 || port > 65535 {
			mistake(field, "%d is not a TCP port", port)
		} else if other := takenBy[port]; port != 0 && other != "" {
			mistake(field, "%d is also %s", port, other)
		} else {
			takenBy[port] = field
		}
	}
	for i, port := range c.Ports {
		checkPort(fmt.Sprintf("Ports[%d]", i), port)
	}
	checkPort("RegistryPort", c.RegistryPort)

	if c.SyncWrites && c.DataDir == "" {
		mistake("SyncWrites", "there is nothing to write without DataDir")
	}

	// Kafka's metrics cannot tell '.' from '_', so it refuses names that differ only in them.
	named := make(map[string]string)
	for i, topic := range c.Topics {
		field := fmt.Sprintf("Topics[%d]", i)
		if problem := topicNameProblem(topic.Name); problem != "" {
			mistake(field+".Name", "%q %s", topic.Name, problem)
		} else if other, ok := named[strings.ReplaceAll(topic.Name, ".", "_")]; ok {
			mistake(field+".Name", "%q collides with %q", topic.Name, other)
		} else {
			named[strings.ReplaceAll(topic.Name, ".", "_")] = topic.Name
		}
		if topic.Partitions < 0 {
			mistake(field+".Partitions", "%d is negative", topic.Partitions)
		}
	}
	return errors.Join(errs...)
}

func topicNameProblem(name string) string {
	switch {
	case name == "":
		return "is empty"
	case name == "." || name == "..":
		return "is not a name"
	case len(name) > 249:
		return "is longer than 249 characters"
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '_', r == '-':
		default:
			return fmt.Sprintf("contains %q", r)
		}
	}
	return ""
}

// brokerPorts returns one port per broker; zero is a free one.
func (c Config) brokerPorts() []int {
	if len(c.Ports) > 0 {
		return c.Ports
	}
	return make([]int, max(c.Brokers, 1))
}
