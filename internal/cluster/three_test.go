//go:build three && unix

package cluster

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/leat-stream/leat/internal/checktest"
)

// One broker of three stands still: it must not keep anybody from starting. Which
// broker is asked first is a matter of chance, so many try.
func TestOpenWithAFrozenBroker(t *testing.T) {
	three := checktest.OwnBrokers(t)
	c := checktest.Dial(t, three.Addresses())
	topic := "cluster-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	c.CreateTopic(topic, 3, nil)
	three.Stop(3)
	defer three.Wake(3)
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			client, err := Open(t.Context(), Config{Brokers: three.Addresses(), ClientID: "cluster-test"})
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := client.Partitions(t.Context(), []string{topic}); err != nil {
				t.Error(err)
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
