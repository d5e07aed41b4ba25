package main

import (
	"context"
	"strings"
	"testing"

	"github.com/leat-stream/leat/embedded"
)

// lastLine is the one that says what went wrong, after the progress.
func lastLine(stderr string) string {
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	return lines[len(lines)-1]
}

func wantFailure(t *testing.T, words []string, args ...string) {
	t.Helper()
	code, stdout, stderr := orders(t, args...)
	line := lastLine(stderr)
	if code != 1 || stdout != "" || !strings.HasPrefix(line, "orders: ") || strings.Count(stderr, "orders: ") != 1 {
		t.Errorf("orders %v: exit %d, stdout %q, stderr:\n%s", args, code, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(line, w) {
			t.Errorf("orders %v: no %q in %q", args, w, line)
		}
	}
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	flags := []string{"-brokers", "127.0.0.1:1", "-registry", "http://127.0.0.1:1", "-until-end"}
	for _, more := range [][]string{nil, {"-create-topics"}, {"-n", "5"}} {
		wantFailure(t, []string{"no broker answers at 127.0.0.1:1"}, append(flags[:len(flags):len(flags)], more...)...)
	}
}

func TestMissingTopics(t *testing.T) {
	t.Parallel()
	cluster, err := embedded.Start(embedded.Config{Topics: topics[:3]})
	check(t, err)
	t.Cleanup(func() { check(t, cluster.Close()) })
	s := servers{cluster.Brokers(), cluster.RegistryURL()}
	wantFailure(t, []string{"orders.dlq", "orders.review"}, s.flags("-until-end")...)

	// With -create-topics it creates them, and leaves those that exist alone.
	mustRun(t, s.flags("-until-end", "-create-topics", "-n", "100")...)
	audit(t, s)
}

func TestNoRegistry(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t)
	s.registry = "http://127.0.0.1:1"
	wantFailure(t, []string{"generate: ", "http://127.0.0.1:1"}, s.flags("-n", "5")...)
}

// Being told to stop is no failure, whatever it was doing.
func TestInterruptedBeforeTheJob(t *testing.T) {
	t.Parallel()
	s := startEmbedded(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	for _, args := range [][]string{{"-n", "5"}, s.flags("-create-topics", "-n", "5"), s.flags("-until-end"), s.flags()} {
		var stdout, stderr output
		if code := run(ctx, args, &stdout, &stderr); code != 0 || strings.Contains(stderr.String(), "orders: ") {
			t.Errorf("orders %v: exit %d, stderr:\n%s", args, code, stderr.String())
		}
	}
}
