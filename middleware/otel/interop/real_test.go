//go:build real

package interop

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/middleware/otel"
	"github.com/leat-stream/leat/pipeline"
)

// realWorld has fresh topics and groups on the real broker. settings are of the topic priced.
func realWorld(t *testing.T, settings map[string]string) *world {
	t.Helper()
	env := os.Getenv("LEAT_TEST_BROKERS")
	if env == "" {
		t.Fatal("LEAT_TEST_BROKERS is not set; scripts/test-real sets it")
	}
	w := newWorld(t, nil, strings.Split(env, ","), "tracing-"+strconv.FormatInt(time.Now().UnixNano(), 36)+"-")
	for _, name := range topics {
		var with map[string]string
		if name == "priced" {
			with = settings
		}
		w.client.CreateTopic(w.id+name, 1, with)
	}
	return w
}

func TestRealThreeHops(t *testing.T) { threeHops(realWorld(t, nil)) }

func TestRealBatches(t *testing.T) { batches(realWorld(t, nil)) }

func TestRealDeadLetters(t *testing.T) { deadLetters(realWorld(t, nil)) }

// The broker refuses one of three records, so that their transaction is aborted and the
// other two are processed again.
func TestRealAbortAndReplay(t *testing.T) {
	w := realWorld(t, map[string]string{"max.message.bytes": "4000"})
	large := make([]byte, 8000)
	_, _ = rand.Read(large)
	w.feed("tea", base64.StdEncoding.EncodeToString(large), "milk")
	stats := w.run("pricing", "orders", "priced", otel.Child, pipeline.DeadLetter(w.id+"dlq"))
	all := w.received()
	if stats.Aborts == 0 || stats.DeadLetters != 1 {
		t.Fatalf("%d aborts, %d dead letters", stats.Aborts, stats.DeadLetters)
	}
	w.transactions(all, "orders", stats)
	w.replayed(all, "priced", 2)
	failed := 0
	for _, s := range all.named("send priced") {
		if s.Status.GetMessage() != "" {
			failed++
		}
	}
	if failed == 0 {
		t.Error("no send says that it was refused")
	}
}
