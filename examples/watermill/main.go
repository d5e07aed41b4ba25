// Command watermill runs one Watermill application twice on the same broker: in a Router
// on watermill-kafka, and in a pipeline of Leat. It prints how many records a second each
// of them does.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"
	wm "github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/watermill"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := run(ctx, os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "watermill:", err)
		os.Exit(1)
	}
}

// options are what the flags say.
type options struct {
	brokers   []string
	n, before int64
	rounds    int
	atLeast   float64
}

const partitions = 4

func run(ctx context.Context, out io.Writer, args []string) (err error) {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.brokers == nil {
		kafka, err := embedded.Start(embedded.Config{})
		if err != nil {
			return err
		}
		defer kafka.Close()
		o.brokers = kafka.Brokers()
	}
	in := "payments-" + wm.NewShortUUID()
	slow, fast, err := measure(ctx, o, in)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "before: %8d records, %7.0f records/s  watermill-kafka, Router, at least once\n", o.before, slow)
	fmt.Fprintf(out, "after:  %8d records, %7.0f records/s  Leat, pipeline, exactly once\n", o.n, fast)
	fmt.Fprintf(out, "%.0f times as many (medians of %d)\n", fast/slow, o.rounds)
	if fast < o.atLeast*slow {
		return fmt.Errorf("less than %.0f times as many", o.atLeast)
	}
	return nil
}

// measure fills a topic and runs both over it, in turns. It returns the medians of their
// records a second.
func measure(ctx context.Context, o options, in string) (slow, fast float64, err error) {
	topics := []string{in}
	for i := range o.rounds {
		topics = append(topics, fmt.Sprintf("%s-before-%d", in, i), fmt.Sprintf("%s-after-%d", in, i))
	}
	defer func() { err = errors.Join(err, deleteTopics(o.brokers, topics)) }()
	if err := fill(o, topics); err != nil {
		return 0, 0, fmt.Errorf("fill the topic: %w", err)
	}
	var before, after []float64
	for i := range o.rounds {
		took, err := runBefore(ctx, o.brokers, in, topics[1+2*i], o.before)
		if err != nil {
			return 0, 0, fmt.Errorf("watermill-kafka: %w", err)
		}
		before = append(before, rate(o.before, took))
		took, records, err := runAfter(ctx, o.brokers, in, topics[2+2*i])
		if err == nil && records != o.n {
			err = fmt.Errorf("%d of %d records are committed", records, o.n)
		}
		if err != nil {
			return 0, 0, fmt.Errorf("pipeline: %w", err)
		}
		after = append(after, rate(records, took))
	}
	return median(before), median(after), nil
}

func median(rates []float64) float64 {
	slices.Sort(rates)
	return rates[len(rates)/2]
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("watermill", flag.ContinueOnError)
	brokers := flags.String("brokers", "", "bootstrap addresses, comma separated; empty runs a Kafka in this process")
	flags.Int64Var(&o.n, "n", 200_000, "records that the pipeline handles")
	flags.Int64Var(&o.before, "before", 10_000, "the first so many are handled by the Router, too")
	flags.IntVar(&o.rounds, "rounds", 1, "how often both run, in turns")
	flags.Float64Var(&o.atLeast, "at-least", 0, "fail if the pipeline is not so many times as fast")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.before < 1 || o.n < o.before || o.rounds < 1 {
		return o, errors.New("-before and -rounds must be 1 or more, and -n no less than -before")
	}
	if *brokers != "" {
		o.brokers = strings.Split(*brokers, ",")
	}
	return o, nil
}

func rate(records int64, took time.Duration) float64 { return float64(records) / took.Seconds() }

// fill creates the topics and writes the payments to the first.
func fill(o options, topics []string) error {
	creator, err := watermill.NewSubscriber(watermill.SubscriberConfig{
		Brokers: o.brokers, InitializeTopicDetails: &sarama.TopicDetail{NumPartitions: partitions},
	}, nil)
	if err != nil {
		return err
	}
	defer creator.Close()
	for _, topic := range topics {
		if err := creator.SubscribeInitialize(topic); err != nil {
			return err
		}
	}
	publisher, err := watermill.NewPublisher(watermill.PublisherConfig{
		Brokers: o.brokers, Marshaler: watermill.NewWithPartitioningMarshaler(customer),
	}, nil)
	if err != nil {
		return err
	}
	defer publisher.Close()

	text := strings.Repeat("for the sack of flour. ", 8)
	for at := int64(0); at < o.n; {
		var batch []*message.Message
		for ; at < o.n && len(batch) < 10_000; at++ {
			msg := message.NewMessage(fmt.Sprintf("payment-%d", at), fmt.Appendf(nil, "c%d;%d;%s", at%1000, at%20_000, text))
			msg.Metadata.Set("correlation_id", msg.UUID)
			batch = append(batch, msg)
		}
		if err := publisher.Publish(topics[0], batch...); err != nil {
			return err
		}
	}
	return nil
}

func deleteTopics(brokers, topics []string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	admin, err := sarama.NewClusterAdmin(brokers, config)
	if err != nil {
		return err
	}
	defer admin.Close()
	var bad []error
	for _, t := range topics {
		bad = append(bad, admin.DeleteTopic(t))
	}
	return errors.Join(bad...)
}
