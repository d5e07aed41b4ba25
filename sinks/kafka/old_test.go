package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/embedded"
)

// The oldest version that README names: every request is lowered to what it knows.
func TestOldestKafka(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{
		Topics:  []embedded.Topic{topic("in", 3), topic("out", 3)},
		Options: []kfake.Opt{kfake.MaxVersions(kversion.V2_5_0())},
	})
	const n = 300
	c.Prefill("in", n)
	cfg := c.config()
	cfg.Instance = "a"
	noError(t, run(t, copying("copy"), cfg), "run")
	if err := c.Compare("in", "out", n).Exact(); err != nil {
		t.Error(err)
	}
}
