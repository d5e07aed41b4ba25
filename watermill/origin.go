package watermill

import (
	"context"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// originKey is for the record that a message was made of.
type originKey struct{}

// origin is where a message comes from.
type origin struct {
	partition int32
	offset    int64
	timestamp time.Time
	key       []byte
}

func withOrigin(ctx context.Context, r *pipeline.Raw) context.Context {
	return context.WithValue(ctx, originKey{}, &origin{r.Origin.Partition, r.Origin.Offset, r.Timestamp, r.Key})
}

func originOf(ctx context.Context) (origin, bool) {
	o, ok := ctx.Value(originKey{}).(*origin)
	if !ok {
		return origin{}, false
	}
	return *o, true
}

// MessagePartitionFromCtx returns the partition of a message that was read from Kafka, by
// the message's context.
func MessagePartitionFromCtx(ctx context.Context) (int32, bool) {
	o, ok := originOf(ctx)
	return o.partition, ok
}

// MessagePartitionOffsetFromCtx returns its offset.
func MessagePartitionOffsetFromCtx(ctx context.Context) (int64, bool) {
	o, ok := originOf(ctx)
	return o.offset, ok
}

// MessageTimestampFromCtx returns its timestamp.
func MessageTimestampFromCtx(ctx context.Context) (time.Time, bool) {
	o, ok := originOf(ctx)
	return o.timestamp, ok
}

// MessageKeyFromCtx returns its key, which must not be changed. It is nil if the record
// has none.
func MessageKeyFromCtx(ctx context.Context) ([]byte, bool) {
	o, ok := originOf(ctx)
	return o.key, ok
}
