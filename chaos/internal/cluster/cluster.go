//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/chaos/internal/process"
	"github.com/leat-stream/leat/chaos/internal/proxy"
)

// startTimeout bounds the start of one broker, and of them all.
const startTimeout = 3 * time.Minute

// Cluster is three brokers and their proxy. It is safe for concurrent use.
type Cluster struct {
	conf  Config
	dir   string
	proxy *proxy.Proxy
	log   *slog.Logger
	nodes []*broker // by node id, less one
	net   *network  // nil: not isolated

	mu     sync.Mutex
	cuts   map[direction]int // by how many partitions each way is cut
	denied map[resource]bool
}

// broker is one of them.
type broker struct {
	id     int32
	dir    string
	disk   string      // where its disk is mounted; "": it has none
	direct *kgo.Client // knows this broker alone

	mu      sync.Mutex
	process *process.Process // nil: never started
	mounted bool
	wanted  bool // it was started, and nobody has told it to end
	stopped bool // by SIGSTOP
}

// Start starts the brokers and returns when they are ready, and their coordinators,
// too. What was started is ended if that fails or ctx ends.
func Start(ctx context.Context, conf Config) (*Cluster, error) {
	if conf.TransactionVersion == 0 {
		conf.TransactionVersion = 2
	}
	if conf.Port == 0 {
		conf.Port = defaultPort
	}
	if err := conf.Validate(); err != nil {
		return nil, err
	}
	c := &Cluster{conf: conf, log: conf.Logger, cuts: map[direction]int{}, denied: map[resource]bool{}}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	if c.dir, err = os.MkdirTemp(c.conf.Dir, "leat-chaos-"); err != nil {
		return err
	}
	behind := proxy.Config{Brokers: map[int32]proxy.Broker{}, Logger: c.log}
	if c.conf.Isolated {
		c.net = &network{}
		if err := c.net.create(ctx); err != nil {
			return fmt.Errorf("cluster: %w", err)
		}
		behind.From = proxyHost
	}
	for id := int32(1); id <= NumBrokers; id++ {
		behind.Brokers[id] = proxy.Broker{Listen: c.conf.address(id, proxyPort), Upstream: c.conf.address(id, clientPort)}
	}
	if c.proxy, err = proxy.Start(behind); err != nil {
		return err
	}
	for id := int32(1); id <= NumBrokers; id++ {
		b := &broker{id: id, dir: filepath.Join(c.dir, fmt.Sprintf("node%d", id))}
		if c.conf.Disk > 0 {
			b.disk = filepath.Join(b.dir, "disk")
		}
		if b.direct, err = dial(c.conf.address(id, directPort)); err != nil {
			return err
		}
		c.nodes = append(c.nodes, b)
	}
	// Each takes a JVM's start, twice: all at once.
	var all sync.WaitGroup
	errs := make([]error, NumBrokers)
	for i, b := range c.nodes {
		all.Go(func() {
			if errs[i] = c.format(ctx, b); errs[i] == nil {
				errs[i] = c.launch(b)
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := c.Ready(ctx); err != nil {
		return err
	}
	// The first question for a coordinator creates its topic.
	if _, err := c.GroupCoordinator(ctx, "any"); err != nil {
		return err
	}
	if _, err := c.TxnCoordinator(ctx, "any"); err != nil {
		return err
	}
	return c.Ready(ctx)
}

// format writes a broker's configuration and makes its data directory.
func (c *Cluster) format(ctx context.Context, b *broker) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if b.disk != "" {
		if err := b.mount(c.conf.Disk); err != nil {
			return fmt.Errorf("disk of broker %d: %w", b.id, err)
		}
	}
	if err := os.WriteFile(b.properties(), []byte(c.conf.properties(b.id, b.data())), 0o644); err != nil {
		return err
	}
	cmd := c.java("warn", "-Xmx128m", "kafka.tools.StorageTool", "format", "-t", clusterID, "-c", b.properties(),
		"--feature", fmt.Sprintf("transaction.version=%d", c.conf.TransactionVersion))
	if err := process.Run(ctx, cmd, filepath.Join(b.dir, "format.log")); err != nil {
		return fmt.Errorf("format broker %d: %w", b.id, err)
	}
	return nil
}

func (b *broker) properties() string { return filepath.Join(b.dir, "server.properties") }
func (b *broker) logFile() string    { return filepath.Join(b.dir, "server.log") }

func (c *Cluster) java(level, memory string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		memory, "-XX:+UseSerialGC", "-Dorg.slf4j.simpleLogger.defaultLogLevel=" + level, "-cp", filepath.Join(c.conf.Libs, "*"),
	}, args...)...)
}

// launch starts a broker's process.
func (c *Cluster) launch(b *broker) error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the process has its own
	cmd := c.java("info", "-Xmx"+heap, "kafka.Kafka", b.properties())
	if c.net != nil {
		cmd = inNamespace(b.id, cmd)
	}
	cmd.Stdout, cmd.Stderr = log, log
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process != nil && b.process.Running() {
		return fmt.Errorf("broker %d runs", b.id)
	}
	if b.process, err = process.Start(cmd); err != nil {
		return fmt.Errorf("start broker %d: %w", b.id, err)
	}
	b.wanted, b.stopped = true, false
	c.log.Info("broker started", "broker", b.id, "pid", cmd.Process.Pid)
	return nil
}

// TransactionVersion is the version of transactions, 1 or 2.
func (c *Cluster) TransactionVersion() int { return c.conf.TransactionVersion }

// Bootstrap are the addresses for what is tested: the proxy's.
func (c *Cluster) Bootstrap() []string { return c.proxy.Addrs() }

// Direct are the addresses for the harness's own clients, past the proxy.
func (c *Cluster) Direct() (all []string) {
	for _, b := range c.nodes {
		all = append(all, c.conf.address(b.id, directPort))
	}
	return all
}

// Proxy is what stands before the addresses of Bootstrap. Its brokers have the node ids
// of the cluster. It lives as long as the cluster.
func (c *Cluster) Proxy() *proxy.Proxy { return c.proxy }

// Log is the path of a broker's log, which goes on over restarts; "" for an unknown node.
func (c *Cluster) Log(node int32) string {
	b, err := c.broker(node)
	if err != nil {
		return ""
	}
	return b.logFile()
}

func (c *Cluster) broker(node int32) (*broker, error) {
	if node < 1 || int(node) > len(c.nodes) {
		return nil, fmt.Errorf("cluster: there is no broker %d", node)
	}
	return c.nodes[node-1], nil
}

// signal sends a signal to a broker that runs. note is called first, under the broker's
// lock.
func (c *Cluster) signal(node int32, s syscall.Signal, note func(*broker)) (*process.Process, error) {
	b, err := c.broker(node)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == nil || !b.process.Running() {
		return nil, fmt.Errorf("cluster: broker %d does not run", node)
	}
	note(b)
	if err := b.process.Signal(s); err != nil {
		return nil, fmt.Errorf("cluster: %v to broker %d: %w", s, node, err)
	}
	c.log.Info("broker signalled", "broker", node, "signal", s)
	return b.process, nil
}

func ended(b *broker) { b.wanted = false }

// Kill ends a broker with SIGKILL, also one that is stopped, and returns when it is gone.
func (c *Cluster) Kill(node int32) error {
	p, err := c.signal(node, syscall.SIGKILL, ended)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), process.EndTimeout)
	defer cancel()
	return p.Wait(ctx)
}

// Terminate ends a broker with SIGTERM: it hands its partitions over first. It returns
// when the broker is gone, or with an error when ctx ends before.
func (c *Cluster) Terminate(ctx context.Context, node int32) error {
	p, err := c.signal(node, syscall.SIGTERM, ended)
	if err != nil {
		return err
	}
	return p.Wait(ctx)
}

// Stop has a broker stand still (SIGSTOP): it keeps its connections and answers nothing.
func (c *Cluster) Stop(node int32) error {
	_, err := c.signal(node, syscall.SIGSTOP, func(b *broker) { b.stopped = true })
	return err
}

// Cont has a broker go on that stands still (SIGCONT).
func (c *Cluster) Cont(node int32) error {
	_, err := c.signal(node, syscall.SIGCONT, func(b *broker) { b.stopped = false })
	return err
}

// Restart starts a broker that has ended, with the data it had. It returns when the
// broker answers and its controller counts it among the living, or with an error when ctx
// or three minutes end before. Its replicas may be behind still: Ready waits for them.
func (c *Cluster) Restart(ctx context.Context, node int32) error {
	b, err := c.broker(node)
	if err != nil {
		return err
	}
	if err := c.launch(b); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return c.until(ctx, func() error { return b.alive(ctx) })
}

// Close kills the brokers, closes the proxy, waits for all of it, and removes data and
// logs unless Config.Keep is set. Closing twice is harmless.
func (c *Cluster) Close() error {
	var errs []error
	for _, b := range c.nodes {
		b.mu.Lock()
		if b.process != nil {
			errs = append(errs, b.process.Kill())
		}
		errs = append(errs, b.unmount())
		b.mu.Unlock()
		b.direct.Close()
	}
	if c.proxy != nil {
		c.proxy.Close()
	}
	if c.net != nil {
		errs = append(errs, c.net.remove())
	}
	if c.dir != "" && !c.conf.Keep {
		errs = append(errs, os.RemoveAll(c.dir))
	}
	return errors.Join(errs...)
}
