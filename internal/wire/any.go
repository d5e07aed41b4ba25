package wire

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

// hedge is how long one broker is waited for before the next is asked, too.
const hedge = time.Second

// Any asks brokers on connections of their own, one more each second until one
// answers: a single broker that has stopped holds nobody up. f may run on several
// goroutines at once.
func (c *Config) Any(ctx context.Context, addrs []string, f func(*sarama.Broker) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.RequestTimeout)
	defer cancel()
	addrs = slices.Compact(slices.Sorted(slices.Values(addrs)))
	answers := make(chan error, len(addrs))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	var errs []error
	open := 0
	for i := 0; i < len(addrs) || open > 0; {
		if i < len(addrs) {
			addr := addrs[i]
			i++
			open++
			asking.Go(func() {
				w, err := c.Open(ctx, addr)
				if err == nil {
					err = w.Ask(ctx, f)
					w.Close()
				}
				answers <- err
			})
		}
		var wait <-chan time.Time
		if i < len(addrs) {
			wait = time.After(hedge)
		}
		select {
		case err := <-answers:
			open--
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-wait:
		}
	}
	return errors.Join(errs...)
}
