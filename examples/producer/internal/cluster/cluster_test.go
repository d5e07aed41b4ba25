package cluster

import (
	"flag"
	"strings"
	"testing"

	"github.com/leat-stream/leat/embedded"
)

// setFlag sets a flag until the test's end.
func setFlag(t *testing.T, name, value string) {
	t.Helper()
	before := flag.Lookup(name).Value.String()
	t.Cleanup(func() { _ = flag.Set(name, before) })
	if err := flag.Set(name, value); err != nil {
		t.Fatal(err)
	}
}

// Topics of other names are somebody's.
func TestOnlyTheExamplesTopicsAreTouched(t *testing.T) {
	if _, err := Start(t.Context(), embedded.Topic{Name: "orders"}); err == nil || !strings.Contains(err.Error(), "leat-example-") {
		t.Errorf("error %v", err)
	}
}

func TestARegistryAloneIsAMistake(t *testing.T) {
	setFlag(t, "registry", "http://127.0.0.1:1")
	if _, err := Start(t.Context()); err == nil || !strings.Contains(err.Error(), "-brokers") {
		t.Errorf("error %v", err)
	}
}
