//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// data is a broker's log.dirs.
func (b *broker) data() string {
	if b.disk != "" {
		return filepath.Join(b.disk, "data")
	}
	return filepath.Join(b.dir, "data")
}

func (b *broker) filler() string { return filepath.Join(b.disk, "filler") }

// mount gives a broker its disk.
func (b *broker) mount(size int64) error {
	if err := os.Mkdir(b.disk, 0o755); err != nil {
		return err
	}
	if err := mountMemory(b.disk, size); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mounted = true
	return nil
}

// unmount takes it, with all that is on it. It is called under mu.
func (b *broker) unmount() error {
	if !b.mounted {
		return nil
	}
	b.mounted = false
	return unmountMemory(b.disk)
}

// FillDisk fills a broker's disk, until FreeDisk. A broker that cannot write ends: from
// now on that is as if it had been told to, so AwaitEnd follows. The broker may write a few
// bytes more, into blocks that it had taken.
func (c *Cluster) FillDisk(ctx context.Context, node int32) error {
	b, err := c.withDisk(node)
	if err != nil {
		return err
	}
	b.mu.Lock()
	ended(b)
	b.mu.Unlock()
	f, err := os.OpenFile(b.filler(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("cluster: fill disk of broker %d: %w", node, err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for ctx.Err() == nil {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			c.log.Info("disk filled", "broker", node)
			return nil
		} else if err != nil {
			return fmt.Errorf("cluster: fill disk of broker %d: %w", node, err)
		}
	}
	return fmt.Errorf("cluster: fill disk of broker %d: %w", node, ctx.Err())
}

// FreeDisk takes away what FillDisk has filled the disk with.
func (c *Cluster) FreeDisk(node int32) error {
	b, err := c.withDisk(node)
	if err != nil {
		return err
	}
	if err := os.Remove(b.filler()); err != nil {
		return fmt.Errorf("cluster: free disk of broker %d: %w", node, err)
	}
	c.log.Info("disk freed", "broker", node)
	return nil
}

func (c *Cluster) withDisk(node int32) (*broker, error) {
	b, err := c.broker(node)
	if err != nil {
		return nil, err
	}
	if b.disk == "" {
		return nil, fmt.Errorf("cluster: broker %d has no disk of its own", node)
	}
	return b, nil
}

// AwaitEnd returns when a broker has ended by itself, which is from then on as if it had
// been told to, or with an error when ctx ends before.
func (c *Cluster) AwaitEnd(ctx context.Context, node int32) error {
	b, err := c.broker(node)
	if err != nil {
		return err
	}
	b.mu.Lock()
	p := b.process
	b.mu.Unlock()
	if p == nil {
		return fmt.Errorf("cluster: broker %d was never started", node)
	}
	if err := p.Wait(ctx); err != nil {
		return fmt.Errorf("cluster: broker %d: %w", node, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.process == p {
		ended(b)
	}
	return nil
}
