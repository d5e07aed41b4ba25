// Command regions shows a map of regions and partitions that comes from a file, and is
// replaced while records are sent.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/examples/producer/internal/cluster"
	"github.com/leat-stream/leat/sinks/kafka"
)

const topic = "leat-example-regions"

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := cluster.Start(ctx, embedded.Topic{Name: topic, Partitions: 4})
	if err != nil {
		return err
	}
	defer c.Stop()
	dir, err := os.MkdirTemp("", "regions")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "regions.json")
	if err := write(path, `{"us-east": 0, "eu-west": 2}`); err != nil {
		return err
	}

	file := kafka.RegionsFile(path) // or any func(context.Context) (map[string]int32, error)
	regions, err := kafka.LoadRegions(ctx, file)
	if err != nil {
		return err
	}
	p, err := kafka.NewProducer(ctx, kafka.ProducerSettings{Brokers: c.Brokers, Partitioner: regions})
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	if err := send(ctx, p); err != nil {
		return err
	}

	// The file is read again and again; what is wrong with it leaves the map as it is.
	changes := make(chan error)
	following, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		regions.Follow(following, file, 10*time.Millisecond, func(err error) {
			select {
			case changes <- err:
			case <-following.Done():
			}
		})
	})
	defer wg.Wait()
	defer stop()
	for _, text := range []string{`{"us-east": 3, "eu-west": 1}`, `{"us-east": -1}`} {
		if err := write(path, text); err != nil {
			return err
		}
		fmt.Println("the file is now", text+":", told(<-changes))
		if err := send(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func send(ctx context.Context, p *kafka.Producer) error {
	for _, key := range []string{"us-east:order-1", "eu-west:order-2"} {
		r, err := p.SendSync(ctx, kafka.Record{Topic: topic, Key: []byte(key), Value: []byte("an order")})
		if err != nil {
			return err
		}
		fmt.Println(key, "is in partition", r.Partition)
	}
	return nil
}

func told(err error) string {
	if err != nil {
		return "refused"
	}
	return "taken"
}

// write puts the whole file in place at once: half of it would be refused.
func write(path, text string) error {
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
