// Package kafka is the Kafka end of a pipeline: the producer that it ends in, and
// [Run], which runs a pipeline with both ends on one cluster, exactly once.
package kafka

import (
	"context"

	"github.com/leat-stream/leat/pipeline"
	kafkasource "github.com/leat-stream/leat/sources/kafka"
)

// Run runs a pipeline whose inputs and outputs are topics of one cluster, until
// ctx ends, UntilEnd is reached, or something fails that it cannot get over. It is
// pipeline.Run with this package's [Sink] and the source of package sources/kafka.
//
// Several workers may run the same pipeline, in one process or many: they share
// the partitions.
func Run(ctx context.Context, p *pipeline.Pipeline, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	opts := []pipeline.RunOption{
		pipeline.Require(cfg.Delivery),
		pipeline.CommitEvery(cfg.CommitInterval, cfg.CommitRecords, cfg.CommitBytes),
		pipeline.OnAssigned(cfg.OnAssigned), pipeline.OnRevoked(cfg.OnRevoked),
		pipeline.Logger(cfg.Logger), pipeline.Observe(cfg.Stats), pipeline.Observers(cfg.Observers...),
	}
	if cfg.StopTimeout > 0 {
		opts = append(opts, pipeline.StopWithin(cfg.StopTimeout))
	}
	sink := NewSink(cfg)
	err := pipeline.Run(ctx, p, kafkasource.New(cfg.source()), sink, opts...)
	if closing := sink.closeInterceptors(); closing != nil { // a run that failed early has not closed its sink
		cfg.logger().Warn("close", "pipeline", p.Name(), "error", closing)
	}
	return err
}
