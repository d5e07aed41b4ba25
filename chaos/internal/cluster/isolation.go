//go:build unix

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"
)

// The network of an isolated cluster: a bridge that this program is on, too.
const (
	bridge  = "leat"
	subnet  = "10.77.0."
	netmask = "/24"
	// ownHost is where the harness's own clients come from: the bridge's first address.
	ownHost = subnet + "253"
	// ipTimeout bounds one call of the program ip.
	ipTimeout = 10 * time.Second
)

// proxyHost is where the proxy comes from, by which the brokers know it.
var proxyHost = netip.MustParseAddr(subnet + "254")

// brokerHost is the address of a broker.
func brokerHost(node int32) string { return fmt.Sprint(subnet, node) }

// namespace is the name of a broker's network namespace, and of the bridge's end of its line.
func namespace(node int32) string { return fmt.Sprint("leat", node) }

// isolatable says what an isolated cluster lacks.
func isolatable() error {
	var errs []error
	if _, err := exec.LookPath("ip"); err != nil {
		errs = append(errs, fmt.Errorf("cluster: Isolated needs ip, of iproute2: %w", err))
	}
	if err := private(); err != nil {
		errs = append(errs, fmt.Errorf("cluster: Isolated: %w", err))
	}
	return errors.Join(errs...)
}

// network is what was made of it, newest last, as the ways to remove it.
type network struct{ undo []func() error }

// create makes the namespaces and joins them by the bridge.
func (n *network) create(ctx context.Context) error {
	if err := private(); err != nil { // whoever calls: nothing of the system's own is touched
		return err
	}
	// ip keeps namespaces in /run/netns. The system's own is not to have them.
	if err := mountMemory("/run", 0); err != nil {
		return fmt.Errorf("a /run of its own: %w", err)
	}
	n.undo = append(n.undo, func() error { return unmountMemory("/run") })
	if err := ip(ctx, "link set lo up"); err != nil {
		return err
	}
	if err := n.add(ctx, "link add "+bridge+" address 02:00:00:00:00:fd type bridge", "link del "+bridge); err != nil {
		return err
	}
	for node := int32(1); node <= NumBrokers; node++ {
		if err := n.join(ctx, node); err != nil {
			return fmt.Errorf("network of broker %d: %w", node, err)
		}
	}
	return all(ctx,
		"addr add "+ownHost+netmask+" dev "+bridge,
		"addr add "+proxyHost.String()+netmask+" dev "+bridge,
		"link set "+bridge+" up",
	)
}

// join makes a broker's namespace and its line to the bridge.
func (n *network) join(ctx context.Context, node int32) error {
	ns := namespace(node)
	if err := n.add(ctx, "netns add "+ns, "netns del "+ns); err != nil {
		return err
	}
	// A namespace that is deleted takes its end of the line with it some time later. Deleted
	// first, the line is gone at once.
	if err := n.add(ctx, "link add "+ns+" type veth peer name eth0 netns "+ns, "link del "+ns); err != nil {
		return err
	}
	return all(ctx,
		"link set "+ns+" master "+bridge+" up",
		"-n "+ns+" link set lo up",
		"-n "+ns+" addr add "+brokerHost(node)+netmask+" dev eth0",
		"-n "+ns+" link set eth0 up",
	)
}

func (n *network) add(ctx context.Context, command, undo string) error {
	if err := ip(ctx, command); err != nil {
		return err
	}
	n.undo = append(n.undo, func() error { return ip(context.Background(), undo) })
	return nil
}

// remove removes all that was made. Removing twice is harmless.
func (n *network) remove() error {
	var errs []error
	for ; len(n.undo) > 0; n.undo = n.undo[:len(n.undo)-1] {
		errs = append(errs, n.undo[len(n.undo)-1]())
	}
	return errors.Join(errs...)
}

// inNamespace has a command run in a broker's network namespace. Its process is still that
// of the command: ip executes it in its own place.
func inNamespace(node int32, cmd *exec.Cmd) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", namespace(node)}, cmd.Args...)...)
}

func all(ctx context.Context, commands ...string) error {
	for _, command := range commands {
		if err := ip(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// ip calls the program ip. No argument has spaces.
func ip(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, ipTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", strings.Fields(command)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", command, errors.Join(err, ctx.Err()), bytes.TrimSpace(stderr.Bytes()))
	}
	return nil
}
