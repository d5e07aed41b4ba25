//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestStopsInOrderOnSignals(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			s := startEmbedded(t)
			produce(t, s, 300)
			cmd := exec.CommandContext(t.Context(), os.Args[0], s.flags("-commit-interval", "20ms")...)
			cmd.Env = append(os.Environ(), asMain+"=1")
			var stdout output
			cmd.Stdout = &stdout
			progress, err := cmd.StderrPipe()
			check(t, err)
			check(t, cmd.Start())
			var seen strings.Builder
			sent := false // a second signal would end it at once
			for lines := bufio.NewScanner(progress); lines.Scan(); {
				seen.WriteString(lines.Text() + "\n")
				if !sent && strings.HasPrefix(lines.Text(), "312 orders committed") {
					sent = true
					check(t, cmd.Process.Signal(sig))
				}
			}
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v, stderr:\n%s", err, seen.String())
			}
			wantWords(t, stdout.String(), "\n312 orders in ", "records/s")
			audit(t, s)
		})
	}
}
