//go:build real

package producer

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds what a test waits for; only a failing test waits that long.
const patience = time.Minute

// Every program says the same of a real Kafka and registry as of the embedded ones.
func TestRealPrograms(t *testing.T) {
	brokers, registry := os.Getenv("LEAT_TEST_BROKERS"), os.Getenv("LEAT_TEST_REGISTRY")
	if brokers == "" || registry == "" {
		t.Fatal("LEAT_TEST_BROKERS and LEAT_TEST_REGISTRY must name a Kafka and a schema registry for tests")
	}
	binaries := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags=-s -w", "-o", binaries, "./...")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, p := range programs(t) {
		t.Run(p.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			var stdout, stderr bytes.Buffer
			run := exec.CommandContext(ctx, filepath.Join(binaries, p.name), "-brokers", brokers, "-registry", registry)
			run.Stdout, run.Stderr = &stdout, &stderr
			if err := run.Run(); err != nil {
				t.Fatalf("%v\n%s", err, &stderr)
			}
			if got := strings.TrimSpace(stdout.String()); got != p.output {
				t.Errorf("it prints\n%s\nwant\n%s\nstderr:\n%s", got, p.output, &stderr)
			}
		})
	}
}
