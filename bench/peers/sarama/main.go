//go:build unix

// Command sarama does what leat does, written by hand on IBM/sarama: what a careful Go engineer
// would write today without Leat, and what Leat is measured against. It takes the flags of leat
// copy and leat perf produce that the benchmark uses.
//
// The copy is exact in normal running, over rebalances and over transactions that definitely
// abort. It does without what only a library can afford to get right, such as a commit whose
// outcome is unknown.
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

	"github.com/IBM/sarama"
)

// options are the flags of both jobs.
type options struct {
	brokers []string

	from, to string // copy
	group    string
	interval time.Duration

	topic   string // produce
	records int64
}

func main() {
	jobs := map[string]func(context.Context, options) error{"copy": runCopy, "produce": runProduce}
	if len(os.Args) < 2 || jobs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: sarama-peer copy|produce FLAGS")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := jobs[os.Args[1]](ctx, parse(os.Args[1], os.Args[2:])); err != nil {
		fmt.Fprintln(os.Stderr, "sarama peer:", err)
		os.Exit(1)
	}
}

func parse(job string, args []string) options {
	var o options
	fs := flag.NewFlagSet("sarama-peer "+job, flag.ExitOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`, comma separated")
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

// producing is the producer's configuration, the same for both jobs: sarama's defaults, except
// where the job or speed asks for something else.
func producing() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.ClientID = "leat-bench-sarama"
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1 // all that sarama allows an idempotent producer
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Compression = sarama.CompressionLZ4
	c.Producer.Partitioner = sarama.NewMurmur2Partitioner
	// The one setting that makes sarama's producer fast: without it batches stay small.
	c.Producer.Flush.Frequency = 5 * time.Millisecond
	c.Producer.Return.Successes = false
	c.Producer.Return.Errors = true
	return c
}
