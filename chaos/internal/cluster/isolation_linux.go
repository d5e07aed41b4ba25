package cluster

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// private is an error unless this program may do as it likes with its network and its
// mounts, and nobody else sees it.
func private() error {
	if os.Geteuid() != 0 {
		return errors.New("the program is not root in a network and a mount namespace of its own")
	}
	for _, kind := range []string{"net", "mnt"} {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return err
		}
		// Who may not read this is root in a user namespace only, and the kernel lets it
		// change no other namespaces than its own.
		if system, err := os.Readlink("/proc/1/ns/" + kind); err == nil && system == own {
			return fmt.Errorf("the program has no namespace of its own: its %s is that of process 1", own)
		}
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 {
			return fmt.Errorf("the program's network namespace is in use: it has interface %s", i.Name)
		}
	}
	return nil
}

// mountMemory mounts a file system of so many bytes in memory; 0: of the default size.
func mountMemory(dir string, size int64) error {
	// Nothing of it reaches the mount namespace that this one was copied from.
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	options := "mode=755"
	if size > 0 {
		options = fmt.Sprintf("%s,size=%d", options, size)
	}
	if err := syscall.Mount("leat", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, options); err != nil {
		return fmt.Errorf("mount tmpfs on %s: %w", dir, err)
	}
	return nil
}

// unmountMemory unmounts it, and what is mounted in it: ip mounts things in /run.
func unmountMemory(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}
