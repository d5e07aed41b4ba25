//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
)

const (
	// NumBrokers is how many brokers a cluster has. Their node ids are 1 to 3.
	NumBrokers = 3
	// defaultPort is Config.Port where none is given.
	defaultPort = 24000
	// heap is that of one broker.
	heap = "512m"
	// clusterID is any fixed 16 bytes in base64: all nodes must have the same.
	clusterID = "bGVhdC1jaGFvcy1jbHVzdA"
)

// Config is what a cluster is started with.
type Config struct {
	// Libs is the directory of Kafka's jars, which scripts/kafka-libs fetches and prints.
	Libs string
	// Isolated puts each broker in a network namespace of its own, for Partition and Deny,
	// and for Disk. The program must be root in a network and a mount namespace of its own
	// (unshare --net --mount, or unshare --user --map-root-user --net --mount), which
	// are gone when it has ended, with all that was made in them.
	Isolated bool
	// Disk gives each broker a disk of so many bytes, in memory, for FillDisk. Default: a
	// directory in Dir. Only if Isolated; Keep keeps nothing of it.
	Disk int64
	// Port is the first of 15 ports on 127.0.0.1 that are taken, 5 for each broker: the
	// proxy's, CLIENT, DIRECT, INTERNAL, CONTROLLER. If Isolated, all but the proxy's are
	// on the brokers' own addresses. Default: 24000. Not one of those that
	// the system gives to outgoing connections (on Linux 32768 and up).
	Port int
	// Dir is where the cluster's own directory is made. Default: the system's for
	// temporary files.
	Dir string
	// Keep leaves that directory, data and logs, when the cluster is closed.
	Keep bool
	// TransactionVersion is the cluster's: 1, or 2 (KIP-890), which is the default.
	TransactionVersion int
	// Properties are added to each broker's, and win over those of this package.
	Properties map[string]string
	// Logger is told what is done to the brokers. Default: none.
	Logger *slog.Logger
}

// Validate reports all that is wrong at once.
func (c *Config) Validate() error {
	var errs []error
	if _, err := os.Stat(c.Libs); c.Libs == "" || err != nil {
		errs = append(errs, fmt.Errorf("cluster: Libs is %q, which is not the directory of Kafka's jars: scripts/kafka-libs prints it", c.Libs))
	}
	if c.Port < 0 || c.Port > 65535-ports*NumBrokers {
		errs = append(errs, fmt.Errorf("cluster: Port is %d, not that of %d ports", c.Port, ports*NumBrokers))
	}
	if _, err := exec.LookPath("java"); err != nil {
		errs = append(errs, fmt.Errorf("cluster: brokers need Java 17: %w", err))
	}
	if v := c.TransactionVersion; v < 0 || v > 2 {
		errs = append(errs, fmt.Errorf("cluster: TransactionVersion is %d, not 1 or 2", v))
	}
	if c.Disk < 0 || c.Disk > 0 && !c.Isolated {
		errs = append(errs, fmt.Errorf("cluster: Disk is %d: that is of a broker that is Isolated", c.Disk))
	}
	if c.Isolated {
		errs = append(errs, isolatable())
	}
	return errors.Join(errs...)
}

// ports is how many a broker has. The constants number them.
const (
	proxyPort = iota
	clientPort
	directPort
	internalPort
	controllerPort
	ports
)

// address is that of one of a broker's ports.
func (c *Config) address(node int32, kind int) string {
	host := "127.0.0.1"
	if c.Isolated && kind != proxyPort {
		host = brokerHost(node)
	}
	return fmt.Sprintf("%s:%d", host, c.Port+ports*(int(node)-1)+kind)
}

// properties are a broker's server.properties.
func (c *Config) properties(node int32, data string) string {
	var voters []string
	for n := int32(1); n <= NumBrokers; n++ {
		voters = append(voters, fmt.Sprintf("%d@%s", n, c.address(n, controllerPort)))
	}
	direct, internal := "DIRECT://"+c.address(node, directPort), "INTERNAL://"+c.address(node, internalPort)
	all := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        fmt.Sprint(node),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      strings.Join([]string{"CLIENT://" + c.address(node, clientPort), direct, internal, "CONTROLLER://" + c.address(node, controllerPort)}, ","),
		"advertised.listeners":           strings.Join([]string{"CLIENT://" + c.address(node, proxyPort), direct, internal}, ","),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "INTERNAL",
		"listener.security.protocol.map": "CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"log.dirs":                       data,
		"auto.create.topics.enable":      "false",
		"default.replication.factor":     "3",
		"min.insync.replicas":            "2",

		"offsets.topic.replication.factor":                 "3",
		"transaction.state.log.replication.factor":         "3",
		"transaction.state.log.min.isr":                    "2",
		"share.coordinator.state.topic.replication.factor": "3",
		"share.coordinator.state.topic.min.isr":            "2",

		// Quick: few internal partitions, no wait for a group's first members, and transactions
		// that time out are ended within a second (the default is ten).
		"offsets.topic.num.partitions":                                "5",
		"transaction.state.log.num.partitions":                        "5",
		"share.coordinator.state.topic.num.partitions":                "5",
		"group.initial.rebalance.delay.ms":                            "0",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
	}
	if c.Isolated {
		maps.Copy(all, authorization)
	}
	maps.Copy(all, c.Properties)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "%s=%s\n", name, all[name])
	}
	return b.String()
}
