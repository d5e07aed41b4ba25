package cluster_test

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/cluster"
)

// partitionOfThree opens a client of three brokers, where ends says what each answers for
// the end of t[0]; with false it answers as it is.
func partitionOfThree(t *testing.T, ends func(fake *kfake.Cluster, node int32) (end int64, lies bool)) *cluster.Client {
	t.Helper()
	place, err := embedded.Start(embedded.Config{Brokers: 3, Topics: []embedded.Topic{{Name: "t"}}})
	noError(t, err, "start")
	t.Cleanup(func() { noError(t, place.Close(), "close") })
	fake := place.Fake()
	fake.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		end, lies := ends(fake, fake.CurrentNode())
		if !lies {
			return nil, nil, false
		}
		resp := r.ResponseKind().(*kmsg.ListOffsetsResponse)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = "t"
		rp := kmsg.NewListOffsetsResponseTopicPartition()
		rp.Offset = end
		rt.Partitions = append(rt.Partitions, rp)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, true
	})
	c, err := cluster.Open(t.Context(), cluster.Config{Brokers: place.Brokers(), ClientID: "test"})
	noError(t, err, "open")
	t.Cleanup(func() { noError(t, c.Close(), "close") })
	return c
}

// The metadata name a leader that is cut off; another has gone on since.
func TestEndOfALeaderThatIsCutOff(t *testing.T) {
	c := partitionOfThree(t, func(fake *kfake.Cluster, node int32) (int64, bool) {
		leader := fake.LeaderFor("t", 0)
		switch node {
		case leader:
			return 2, true
		case (leader + 1) % 3:
			return 5, true
		}
		return 0, false
	})
	if end, err := c.End(t.Context(), part0); err != nil || end != 5 {
		t.Errorf("the end is %d, %v, want 5", end, err)
	}
}

// One that does not answer is not waited for.
func TestEndWithABrokerThatIsSilent(t *testing.T) {
	release := make(chan struct{})
	c := partitionOfThree(t, func(fake *kfake.Cluster, node int32) (int64, bool) {
		leader := fake.LeaderFor("t", 0)
		if node == (leader+1)%3 {
			fake.SleepControl(func() { <-release })
		}
		return 2, node == leader
	})
	defer close(release)
	began := time.Now()
	if end, err := c.End(t.Context(), part0); err != nil || end != 2 || time.Since(began) > 10*time.Second {
		t.Errorf("the end is %d, %v, after %v, want 2", end, err, time.Since(began))
	}
}

// What the leader does not answer is an error.
func TestEndOfNoTopic(t *testing.T) {
	c, _, _ := open(t)
	none := part0
	none.Topic = "none"
	if end, err := c.End(t.Context(), none); err == nil {
		t.Errorf("the end is %d", end)
	}
}
