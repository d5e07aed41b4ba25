//go:build unix

// Command franz does what leat does, written by hand on franz-go: what another client can do on
// the same machine. It takes the flags of leat copy and leat perf produce that the benchmark uses.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	linger = 5 * time.Millisecond
	// buffered is how many records may wait: with the default of 10,000 the client waits for the
	// broker too often.
	buffered = 100_000
)

// options are the flags of both jobs.
type options struct {
	brokers   []string
	batchSize int

	from, to string // copy
	group    string
	interval time.Duration

	topic   string // produce
	records int64
}

func main() {
	jobs := map[string]func(context.Context, options) error{"copy": runCopy, "produce": runProduce}
	if len(os.Args) < 2 || jobs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: franz-peer copy|produce FLAGS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := jobs[os.Args[1]](ctx, parse(os.Args[1], os.Args[2:])); err != nil {
		fmt.Fprintln(os.Stderr, "franz peer:", err)
		os.Exit(1)
	}
}

func parse(job string, args []string) options {
	var o options
	fs := flag.NewFlagSet("franz-peer "+job, flag.ExitOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`, comma separated")
	fs.IntVar(&o.batchSize, "batch-size", 0, "largest batch of a partition in `bytes`, before compression (default: the client's)")
	complete := func() bool { return o.topic != "" && o.records > 0 }
	if job == "copy" {
		fs.StringVar(&o.from, "from", "", "input `topic`")
		fs.StringVar(&o.to, "to", "", "output `topic`")
		fs.StringVar(&o.group, "group", "", "consumer `group`")
		fs.DurationVar(&o.interval, "commit-interval", 100*time.Millisecond, "time between commits")
		complete = func() bool { return o.from != "" && o.to != "" && o.group != "" }
	} else {
		fs.StringVar(&o.topic, "topic", "", "`topic` to write to")
		fs.Int64Var(&o.records, "records", 0, "number of records")
	}
	_ = fs.Parse(args) // ends the process by itself
	if *brokers == "" || !complete() || fs.NArg() > 0 {
		fs.Usage()
		os.Exit(2)
	}
	o.brokers = strings.Split(*brokers, ",")
	return o
}

// producing are the producer's options, the same for both jobs.
func (o options) producing(topic string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.SeedBrokers(o.brokers...),
		kgo.ClientID("leat-bench-franz"),
		kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerLinger(linger),
		kgo.MaxBufferedRecords(buffered),
	}
	if o.batchSize > 0 {
		opts = append(opts, kgo.ProducerBatchMaxBytes(int32(o.batchSize)))
	}
	return opts
}
