//go:build unix && !linux

package cluster

import "errors"

var errLinux = errors.New("only on Linux")

func private() error                  { return errLinux }
func mountMemory(string, int64) error { return errLinux }
func unmountMemory(string) error      { return errLinux }
