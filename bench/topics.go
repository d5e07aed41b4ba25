//go:build unix

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leat-stream/leat/bench/internal/record"
)

const (
	partitions = 4
	batchBytes = 128 << 10 // of the input, before compression
)

// admin creates and deletes the benchmark's topics and groups.
type admin struct {
	client *kgo.Client
	*kadm.Client
}

func newAdmin(brokers []string) (*admin, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ClientID("leat-bench"))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &admin{client: client, Client: kadm.NewClient(client)}, nil
}

func (a *admin) close() { a.client.Close() }

// createTopic makes an empty topic and waits until every partition has its leader, so that no
// worker pays for that.
func (a *admin) createTopic(ctx context.Context, topic string) error {
	created, err := a.CreateTopics(ctx, partitions, -1, nil, topic) // -1: the brokers' own replication factor
	if err == nil {
		err = created[topic].Err
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for {
		ends, err := a.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil && len(ends[topic]) == partitions {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("topic %s has no leaders: %w", topic, errors.Join(ctx.Err(), err))
		}
	}
}

// remove deletes a topic and a group; either may be empty. What is gone already is no error.
func (a *admin) remove(ctx context.Context, topic, group string) error {
	var errs []error
	if topic != "" {
		deleted, err := a.DeleteTopics(ctx, topic)
		if err == nil {
			err = deleted[topic].Err
		}
		if err != nil && !errors.Is(err, kerr.UnknownTopicOrPartition) {
			errs = append(errs, fmt.Errorf("delete topic %s: %w", topic, err))
		}
	}
	if group != "" {
		deleted, err := a.DeleteGroups(ctx, group)
		if err == nil {
			err = deleted[group].Err
		}
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			errs = append(errs, fmt.Errorf("delete group %s: %w", group, err))
		}
	}
	return errors.Join(errs...)
}

// brokerVersion guesses the brokers' version from the requests they know.
func (a *admin) brokerVersion(ctx context.Context) (version string, brokers int, err error) {
	all, err := a.ApiVersions(ctx)
	if err != nil {
		return "", 0, fmt.Errorf("ask brokers for what they support: %w", err)
	}
	for _, b := range all {
		if b.Err != nil {
			return "", 0, fmt.Errorf("ask broker %d for what it supports: %w", b.NodeID, b.Err)
		}
		version = b.VersionGuess()
	}
	return version, len(all), nil
}

// fillCommand writes records 0 to n-1 to a topic, each once: idempotent, lz4, in full batches.
// It is done by a client that none of the measured workers needs.
func fillCommand(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("bench fill", flag.ContinueOnError)
	brokers := fs.String("brokers", "", "bootstrap `addresses`")
	topic := fs.String("topic", "", "`topic` to fill")
	n := fs.Int64("n", 0, "records")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("bench fill: %w", err)
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(strings.Split(*brokers, ",")...),
		kgo.DefaultProduceTopic(*topic),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),
		kgo.ProducerBatchMaxBytes(batchBytes),
		kgo.ProducerLinger(50*time.Millisecond), // long enough for every batch to fill
		kgo.MaxBufferedRecords(50_000),
	)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer client.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for id := int64(0); id < *n && ctx.Err() == nil; id++ {
		key, value := record.Make(uint64(id))
		client.Produce(ctx, &kgo.Record{Key: key, Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				cancel(err) // the first one is kept
			}
		})
	}
	flushed := client.Flush(ctx) // without an error, all callbacks have run
	if err := errors.Join(context.Cause(ctx), flushed); err != nil {
		return fmt.Errorf("fill %s: %w", *topic, err)
	}
	return nil
}
