package kafka_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// What is asked of the broker with each kind of acks.
func TestAcks(t *testing.T) {
	t.Parallel()
	for acks, want := range map[kafka.Acks]struct {
		wire, offset int64
		id           bool
	}{
		kafka.AcksAll:    {-1, 2, true},
		kafka.AcksLeader: {1, 2, false},
		kafka.AcksNone:   {0, -1, false},
	} {
		t.Run(acks.String(), func(t *testing.T) {
			t.Parallel()
			c := out(t, 1)
			asked, ids := &journal[int64]{}, &journal[bool]{}
			c.fake.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				c.fake.Fake().KeepControl()
				asked.add(int64(r.(*kmsg.ProduceRequest).Acks))
				return nil, nil, false
			})
			c.fake.Fake().ControlKey(int16(kmsg.InitProducerID), func(kmsg.Request) (kmsg.Response, error, bool) {
				ids.add(true)
				return nil, nil, false
			})
			p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Acks: acks}})
			var last kafka.Result
			for i := range 3 {
				var err error
				last, err = p.SendSync(t.Context(), record("a", fmt.Sprint(i)))
				noError(t, err, "send")
			}
			if last.Offset != want.offset {
				t.Errorf("offset %d, want %d", last.Offset, want.offset)
			}
			c.Await("the records", func() bool { return len(asked.list()) == 3 && len(c.ReadAll("out")) == 3 })
			same(t, "acks", asked.list(), []int64{want.wire, want.wire, want.wire})
			if got := len(ids.list()) > 0; got != want.id {
				t.Errorf("a producer id was asked for: %v, want %v", got, want.id)
			}
		})
	}
}

// Without idempotence one request is under way at a time, unless more are asked for:
// a retry would change the order.
func TestInFlightWithoutIdempotence(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ configured, want int }{{0, 1}, {3, 3}} {
		c := out(t, 1)
		release := make(chan struct{})
		c.hold(release)
		p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{
			Acks: kafka.AcksLeader, MaxInFlight: tt.configured, BatchSize: 200, Linger: kafka.NoLinger,
		}})
		for i := range 20 {
			noError(t, p.Send(t.Context(), record(fmt.Sprint(i), string(make([]byte, 150))), nil), "send")
		}
		c.Await("requests under way", func() bool { return p.Metrics().InFlightRequests == int64(tt.want) })
		if m := p.Metrics(); m.QueuedRecords != int64(20-tt.want) || m.InFlightRecords != int64(tt.want) || m.Pending != 20 {
			t.Errorf("MaxInFlight %d: %+v", tt.configured, m)
		}
		close(release)
		noError(t, p.Flush(t.Context()), "flush")
	}
}

// Retries go on until DeliveryTimeout, and the error says what kept the record.
func TestRetriesEndWithTheDeliveryTimeout(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	c.refuse(kerr.NotEnoughReplicas, always)
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{
		RequestTimeout: 800 * time.Millisecond, DeliveryTimeout: time.Second, RetryBackoff: time.Millisecond, RetryBackoffMax: 20 * time.Millisecond,
	}})
	_, err := p.SendSync(t.Context(), record("a", "1"))
	wantError(t, err, kafka.ErrDeliveryTimeout, "out[0]", "attempt")
	e := err.(*kafka.DeliveryError)
	if e.Attempts < 3 || e.Class != kafka.Retriable || e.Code() != kerr.NotEnoughReplicas.Code {
		t.Errorf("%+v", e)
	}
	if m := p.Metrics(); m.RecordsFailed != 1 || m.Expired != 1 || m.Retries != int64(e.Attempts-1) {
		t.Errorf("%+v", m)
	}
}

func TestARetrySucceeds(t *testing.T) {
	t.Parallel()
	c := out(t, 1)
	refusals := 3
	c.refuse(kerr.NotLeaderForPartition, func() bool { refusals--; return refusals >= 0 })
	p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{RetryBackoff: time.Millisecond}})
	r, err := p.SendSync(t.Context(), record("a", "1"))
	noError(t, err, "send")
	if m := p.Metrics(); r.Offset != 0 || m.Retries != 3 || m.RecordsAcked != 1 {
		t.Errorf("offset %d, %+v", r.Offset, m)
	}
}

func TestProducerConfigsThatContradictThemselves(t *testing.T) {
	for says, c := range map[string]kafka.ProducerConfig{
		"AcksAll":                           {Acks: kafka.AcksLeader, Idempotence: kafka.IdempotenceOn},
		"not known":                         {Acks: 9},
		"Idempotence: 9":                    {Idempotence: 9},
		"MaxInFlight: 6":                    {MaxInFlight: 6},
		"for Gzip and Zstd":                 {CompressionLevel: 1},
		"among 1 to 9":                      {Compression: kafka.Gzip, CompressionLevel: 10},
		"among 1 to 22":                     {Compression: kafka.Zstd, CompressionLevel: -1},
		"Linger (20s) and RequestTimeout":   {Linger: 20 * time.Second, DeliveryTimeout: 25 * time.Second},
		"LingerMax (20s) and Request":       {LingerMax: 20 * time.Second, DeliveryTimeout: 25 * time.Second},
		"less than Linger (2ms)":            {Linger: 2 * time.Millisecond, LingerMax: time.Millisecond},
		"LingerMax must not be negative":    {LingerMax: -1},
		"less than RetryBackoff":            {RetryBackoff: time.Second, RetryBackoffMax: time.Millisecond},
		"MaxBlock must not be negative":     {MaxBlock: -2},
		"RetryBackoff must not be negative": {RetryBackoff: -2},
	} {
		wantError(t, kafka.ProducerSettings{Brokers: []string{"b:1"}, Producer: c}.Validate(), pipeline.ErrInvalid, says)
		wantError(t, kafka.Config{Brokers: []string{"b:1"}, Producer: c}.Validate(), pipeline.ErrInvalid, says)
	}
	for says, s := range map[string]kafka.ProducerSettings{
		"TransactionalID needs Producer.Acks":        {Producer: kafka.ProducerConfig{Acks: kafka.AcksNone}},
		"TransactionalID needs Producer.Idempotence": {Producer: kafka.ProducerConfig{Idempotence: kafka.IdempotenceOff}},
		"DeadLetter does not go":                     {DeadLetter: func(kafka.Record, *kafka.DeliveryError) {}},
	} {
		s.Brokers, s.TransactionalID = []string{"b:1"}, "id"
		wantError(t, s.Validate(), pipeline.ErrInvalid, says)
	}
	for _, c := range []kafka.ProducerConfig{
		{}, {Acks: kafka.AcksNone, MaxInFlight: 50}, {Idempotence: kafka.IdempotenceOff, MaxInFlight: 6},
		{Compression: kafka.Zstd, CompressionLevel: 22}, {RetryBackoff: time.Minute}, {MaxBlock: kafka.NoWait},
		kafka.Throughput(), kafka.LowLatency(), kafka.Durable(),
	} {
		noError(t, kafka.ProducerSettings{Brokers: []string{"b:1"}, Producer: c}.Validate(), "validate")
	}
}

// A pipeline loses and doubles nothing, so it refuses what would.
func TestPipelinesRefuseWhatWouldBreakThem(t *testing.T) {
	for says, c := range map[string]kafka.ProducerConfig{
		"a pipeline needs AcksAll": kafka.LowLatency(),
		"a pipeline needs it":      {Idempotence: kafka.IdempotenceOff},
		"waits for room":           {MaxBlock: kafka.NoWait},
	} {
		for _, g := range bothGuarantees {
			wantError(t, kafka.Config{Brokers: []string{"b:1"}, Delivery: g, Producer: c}.Validate(), pipeline.ErrInvalid, says)
		}
	}
	for _, c := range []kafka.ProducerConfig{kafka.Throughput(), kafka.Durable(), {Compression: kafka.Gzip, CompressionLevel: 9, MaxInFlight: 1}} {
		noError(t, kafka.Config{Brokers: []string{"b:1"}, Producer: c}.Validate(), "validate")
	}
}

// The presets are the specification's figures, in full view.
func TestPresets(t *testing.T) {
	for name, tt := range map[string]struct{ got, want kafka.ProducerConfig }{
		"throughput": {kafka.Throughput(), kafka.ProducerConfig{BatchSize: 65536, Linger: 20 * time.Millisecond, Compression: kafka.LZ4, BufferMemory: 67108864}},
		"latency":    {kafka.LowLatency(), kafka.ProducerConfig{BatchSize: 16384, Linger: kafka.NoLinger, Acks: kafka.AcksLeader}},
		"durable": {kafka.Durable(), kafka.ProducerConfig{
			Acks: kafka.AcksAll, Idempotence: kafka.IdempotenceOn, MaxInFlight: 5, DeliveryTimeout: 120 * time.Second,
			RequestTimeout: 30 * time.Second, RetryBackoff: 100 * time.Millisecond, BatchSize: 65536, Linger: 10 * time.Millisecond,
			Compression: kafka.LZ4, BufferMemory: 67108864, MaxBlock: 60 * time.Second,
		}},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: %+v", name, tt.got)
		}
		c := out(t, 1)
		p := c.producer(kafka.ProducerSettings{Producer: tt.got})
		_, err := p.SendSync(t.Context(), record("a", "1"))
		noError(t, err, name)
	}
}

// Levels reach the codec: the best takes fewer bytes than the fastest.
func TestCompressionLevels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		codec      kafka.Compression
		fast, best int
	}{{kafka.Gzip, 1, 9}, {kafka.Zstd, 1, 22}} {
		size := func(level int) int64 {
			c := out(t, 1)
			var wire int64
			c.fake.Fake().ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
				wire = int64(len(r.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records))
				return nil, nil, false
			})
			p := c.producer(kafka.ProducerSettings{Producer: kafka.ProducerConfig{Compression: tt.codec, CompressionLevel: level, Linger: time.Minute, BatchSize: 1 << 20}})
			for i := range 2000 {
				r := record(fmt.Sprint(i), fmt.Sprintf(`{"name":"customer %d","street":"%d Mill Lane","total":%d}`, i%97, i*i%89, i*7919%1009))
				r.Timestamp = time.UnixMilli(1_700_000_000_000) // the same bytes each time
				noError(t, p.Send(t.Context(), r, nil), "send")
			}
			noError(t, p.Flush(t.Context()), "flush")
			return wire
		}
		fast, best := size(tt.fast), size(tt.best)
		if best >= fast || best == 0 {
			t.Errorf("codec %d: %d bytes at level %d, %d at level %d", tt.codec, fast, tt.fast, best, tt.best)
		}
	}
}
