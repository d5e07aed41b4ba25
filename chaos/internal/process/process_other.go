//go:build unix && !linux

package process

import "syscall"

// attributes has nothing that ties a child to its parent: one that is killed leaves
// its children.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
