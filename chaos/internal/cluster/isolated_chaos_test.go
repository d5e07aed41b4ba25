//go:build chaos && linux

package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/chaos/internal/process"
	"github.com/leat-stream/leat/internal/checktest"
)

// inside is set in the environment of the test binary that runs in namespaces of its own.
const inside = "LEAT_CHAOS_ISOLATED"

// An isolated cluster's life. The test runs itself once more, in namespaces of its own.
func TestIsolated(t *testing.T) {
	if os.Getenv(inside) != "" {
		isolated(t)
		return
	}
	self, err := os.Executable()
	must(t, err)
	args := []string{"--net", "--mount", self, "-test.run=^TestIsolated$", "-test.v", "-test.timeout=10m"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Env = append(os.Environ(), inside+"=1")
	log := filepath.Join(t.TempDir(), "log")
	err = process.Run(t.Context(), cmd, log)
	out, _ := os.ReadFile(log)
	t.Logf("in namespaces of its own:\n%s", out)
	must(t, err)
}

func isolated(t *testing.T) {
	checktest.NoLeaks(t, "chaos/internal/")
	mounted := mounts(t)
	conf := config(t)
	conf.Isolated, conf.Disk = true, 192<<20
	c, err := Start(within(t), conf)
	must(t, err)
	defer c.Close()
	must(t, c.CreateTopics(within(t), 3, "t", "other"))
	load := produce(t, c)
	load.await(100)

	t.Run("deny", func(t *testing.T) { denied(t, c) })
	t.Run("partition", func(t *testing.T) { partitioned(t, c, load) })
	t.Run("full disk", func(t *testing.T) { fullDisk(t, c, load) })
	t.Run("topics", func(t *testing.T) {
		must(t, c.Kill(1))
		for range 2 {
			must(t, c.AddPartitions(within(t), "other", 5))
		}
		for range 2 {
			must(t, c.DeleteTopics(within(t), "other"))
		}
		must(t, c.CreateTopics(within(t), 1, "other"))
		must(t, c.Restart(within(t), 1))
		must(t, c.Ready(within(t)))
	})
	load.await(100)
	must(t, client(t, c.Direct(), kgo.DefaultProduceTopic("t")).ProduceSync(within(t), kgo.StringRecord("direct")).FirstErr())
	load.check(c)

	for range 2 {
		must(t, c.Close())
	}
	if left := mounts(t); !slices.Equal(left, mounted) {
		t.Errorf("mounts are %q, were %q", left, mounted)
	}
	interfaces, err := net.Interfaces()
	must(t, err)
	if len(interfaces) != 1 {
		t.Errorf("left %v", interfaces)
	}
	if left, err := os.ReadDir(conf.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	must(t, conf.Validate()) // another one could be started
}

// mounts are the places where something is mounted.
func mounts(t *testing.T) (all []string) {
	b, err := os.ReadFile("/proc/self/mounts")
	must(t, err)
	for line := range strings.Lines(string(b)) {
		all = append(all, strings.Fields(line)[1])
	}
	return all
}

// Who comes through the proxy is denied what others may do, also while a broker is down.
func denied(t *testing.T, c *Cluster) {
	through := client(t, c.Bootstrap(), kgo.DefaultProduceTopic("other"))
	past := client(t, c.Direct(), kgo.DefaultProduceTopic("other"))
	write := func(cl *kgo.Client) error {
		return cl.ProduceSync(within(t), kgo.StringRecord("x")).FirstErr()
	}
	must(t, c.Kill(3))
	must(t, c.Ready(within(t)))
	restore, err := c.Deny(within(t), kmsg.ACLResourceTypeTopic, "other", kmsg.ACLOperationWrite)
	must(t, err)
	if _, err := c.Deny(within(t), kmsg.ACLResourceTypeTopic, "other", kmsg.ACLOperationRead); err == nil {
		t.Error("denied twice at a time")
	}
	must(t, c.Restart(within(t), 3))
	must(t, c.Ready(within(t)))
	for range 20 { // to all of its partitions
		if err := write(through); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("through the proxy: %v", err)
		}
		must(t, write(past))
	}
	for range 2 {
		must(t, restore(within(t)))
	}
	must(t, write(through))
	for _, b := range c.nodes {
		if left, err := b.rules(within(t), resource{kmsg.ACLResourceTypeTopic, "other"}); err != nil || len(left) > 0 {
			t.Errorf("broker %d has %v, %v", b.id, left, err)
		}
	}

	// Of groups and transactional.ids too.
	for kind, denied := range map[kmsg.ACLResourceType]error{
		kmsg.ACLResourceTypeGroup: kerr.GroupAuthorizationFailed, kmsg.ACLResourceTypeTransactionalId: kerr.TransactionalIDAuthorizationFailed,
	} {
		restore, err := c.Deny(within(t), kind, "it", kmsg.ACLOperationDescribe)
		must(t, err)
		req := kmsg.NewPtrFindCoordinatorRequest()
		req.CoordinatorKey, req.CoordinatorKeys = "it", []string{"it"}
		if kind == kmsg.ACLResourceTypeTransactionalId {
			req.CoordinatorType = ofTransaction
		}
		find := func(cl *kgo.Client) error {
			resp, err := cl.SeedBrokers()[0].Request(within(t), req)
			must(t, err)
			return kerr.ErrorForCode(resp.(*kmsg.FindCoordinatorResponse).Coordinators[0].ErrorCode)
		}
		if err := find(through); !errors.Is(err, denied) {
			t.Errorf("through the proxy: %v, want %v", err, denied)
		}
		must(t, find(past))
		must(t, restore(within(t)))
		must(t, find(through))
	}
}

// The brokers on the one side of a partition lead on, and clients reach both sides.
func partitioned(t *testing.T, c *Cluster, load *load) {
	must(t, c.Ready(within(t)))
	node, err := c.Leader(within(t), "t", 0)
	must(t, err)
	var others []int32
	for id := int32(1); id <= NumBrokers; id++ {
		if id != node {
			others = append(others, id)
		}
	}
	heal, err := c.Partition([]int32{node}, others)
	must(t, err)
	part, err := c.Partition([]int32{others[0]}, []int32{node}) // it overlaps
	must(t, err)
	for _, way := range []direction{{node, others[0]}, {others[1], node}} {
		if c.reaches(t, way.from, way.to) {
			t.Errorf("broker %d still reaches broker %d", way.from, way.to)
		}
	}
	if !c.reaches(t, others[0], others[1]) {
		t.Error("those on one side do not reach each other")
	}
	// That others lead shows that open connections are silent, too: on one of them the broker
	// has told its controller that it lives.
	c.awaitOtherLeader(t, node)
	load.await(100)
	must(t, c.Ready(within(t))) // the others are whole
	if _, err := c.nodes[node-1].metadata(within(t)); err != nil {
		t.Errorf("clients are cut off, too: %v", err)
	}
	must(t, heal())
	if c.reaches(t, node, others[0]) || !c.reaches(t, node, others[1]) {
		t.Error("of two partitions not only the one was healed")
	}
	for range 2 {
		must(t, part())
	}
	must(t, heal())
	must(t, c.Ready(within(t)))
	if up, err := c.answering(); err != nil || len(up) != NumBrokers {
		t.Errorf("%d brokers count, %v", len(up), err)
	}
	load.await(100)
	if _, err := c.Partition([]int32{1}, []int32{1, 2}); err == nil {
		t.Error("a broker was cut off from itself")
	}
}

func fullDisk(t *testing.T, c *Cluster, load *load) {
	node, err := c.Leader(within(t), "t", 1)
	must(t, err)
	must(t, c.FillDisk(within(t), node))
	c.awaitOtherLeader(t, node) // its end, whenever that is, is no error
	must(t, c.AwaitEnd(within(t), node))
	must(t, c.Ready(within(t)))
	load.await(100)
	must(t, c.FreeDisk(node))
	must(t, c.Restart(within(t), node))
	must(t, c.Ready(within(t)))
}

// reaches tells whether one broker's namespace can connect to another broker. It finds out
// within a second; a packet that vanishes is not answered, so nothing is refused.
func (c *Cluster) reaches(t *testing.T, from, to int32) bool {
	t.Helper()
	connect := fmt.Sprintf("exec 3<>/dev/tcp/%s", strings.Replace(c.conf.address(to, internalPort), ":", "/", 1))
	cmd := inNamespace(from, exec.CommandContext(within(t), "timeout", "1", "bash", "-c", connect))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 124) {
		t.Fatalf("%v: %s", err, out)
	}
	return err == nil
}
