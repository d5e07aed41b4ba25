//go:build unix

// Package process runs the children of the fault suite: brokers and workers.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// EndTimeout bounds the wait for a process that was killed.
const EndTimeout = 30 * time.Second

// Process is a child. The goroutine that starts it owns it and waits for it.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed: it has ended, and err is valid
	err    error
}

// Start starts a child that does not survive this process, where the system can see
// to that, and that does not get a Ctrl-C meant for it.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr = attributes()
	cmd.SysProcAttr.Setpgid = true
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux kills a child with the thread that started it: so that must live as long.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		p.err = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// Run runs a child to its end and returns an error with what it wrote, unless it
// succeeds.
func Run(ctx context.Context, cmd *exec.Cmd, log string) error {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	p, err := Start(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.Kill())
	}
	if p.err != nil {
		return fmt.Errorf("%w; it wrote:\n%s", p.err, Tail(log))
	}
	return nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Exited is closed when it has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Err is how it has ended, nil for exit code 0. It must have ended.
func (p *Process) Err() error { return p.err }

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// Kill ends the process with SIGKILL, unless it has ended, and waits for that.
func (p *Process) Kill() error {
	if err := p.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), EndTimeout)
	defer cancel()
	return p.Wait(ctx)
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Wait returns when the process has ended, however it did.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("process %d has not ended: %w", p.cmd.Process.Pid, ctx.Err())
	}
}

// Tail is what a log says about a failure: its first errors, or else its end.
func Tail(log string) string {
	const most, lines, width = 2 << 10, 8, 300
	b, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	var errs []string
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, " ERROR ") || strings.Contains(line, "Exception: ") {
			errs = append(errs, strings.TrimSpace(line[:min(len(line), width)]))
		}
		if len(errs) == lines {
			break
		}
	}
	if len(errs) > 0 {
		return strings.Join(errs, "\n")
	}
	return string(b[max(0, len(b)-most):])
}
