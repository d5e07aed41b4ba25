package process

import (
	"bufio"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A harness that is killed leaves nothing behind, not even a child that is stopped.
func TestChildDoesNotSurvive(t *testing.T) {
	for name, stopped := range map[string]bool{"running": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			harness := stand("harness")
			out, err := harness.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := harness.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			child, nerr := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || nerr != nil {
				t.Fatal(err, nerr)
			}
			if !exists(child) {
				t.Fatal("there is no child")
			}
			if stopped {
				if err := syscall.Kill(child, syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			if err := harness.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = harness.Wait()
			await(t, "the child's end", func() bool { return !exists(child) })
		})
	}
}
