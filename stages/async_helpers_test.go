package stages_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/pipelinetest"
	"github.com/leat-stream/leat/serde"
)

// inBubble runs a test in fake time; every goroutine must end.
func inBubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// settle lets everything run until it waits, and d pass.
func settle(d time.Duration) {
	synctest.Wait()
	time.Sleep(d) // fake time
	synctest.Wait()
}

// numbered returns prefix0 … prefix(n-1).
func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return out
}

// onePartition is a cluster with the values in partition 0 of topic in, their own keys.
func onePartition(p *pipeline.Pipeline, values ...string) *pipelinetest.Cluster {
	c := pipelinetest.NewCluster(pipelinetest.Config{Topics: pipelinetest.TopicsOf(p, 1)})
	for _, v := range values {
		c.Feed("in", pipelinetest.Text(v, v))
	}
	return c
}

// through runs values through a pipeline to their commit, and returns what a topic has then.
func through(t *testing.T, p *pipeline.Pipeline, topic string, values ...string) []string {
	t.Helper()
	c := onePartition(p, values...)
	pipelinetest.Run(t, p, c)
	return valuesIn(c, topic)
}

func valuesIn(c *pipelinetest.Cluster, topic string) []string {
	var got []string
	for _, r := range c.Records(topic) {
		got = append(got, string(r.Value))
	}
	return got
}

func expectEqual(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// suffixed returns the values with what a table of the tests has for them.
func suffixed(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v + ":v-" + v
	}
	return out
}

// onlooker has a run count its stages.
type onlooker struct{}

func (onlooker) RunStarted(*pipeline.Running)      {}
func (onlooker) RunEnded(*pipeline.Running, error) {}

var stringSerde = serde.String()
