package instruments

import (
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

// All are Leat's instruments, in the order in which they are shown.
var All = []*Instrument{
	{Name: "leat.runs", Unit: "{run}", Kind: UpDown, Labels: []string{Phase}, read: runs,
		Help: "Runs of the pipeline in this process, by how far they have come."},
	{Name: "leat.sessions", Unit: "{session}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Sessions }),
		Help: "Sessions of the consumer group that were begun."},
	{Name: "leat.recoveries", Unit: "{recovery}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Recoveries }),
		Help: "Initialisations of the transactional producer, the first one included."},

	{Name: "leat.input.records", Unit: "{record}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Records }),
		Help: "Input records processed; those that are replayed count again."},
	{Name: "leat.input.size", Unit: "By", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.InputBytes }),
		Help: "Keys, values and headers of the input records processed."},
	{Name: "leat.output.records", Unit: "{record}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Outputs }),
		Help: "Outputs, without dead letters; those of replayed input count again."},
	{Name: "leat.output.size", Unit: "By", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.OutputBytes }),
		Help: "Keys and values of the outputs."},
	{Name: "leat.committed.records", Unit: "{record}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Committed }),
		Help: "Input records whose position is committed, each once."},
	{Name: "leat.skipped.records", Unit: "{record}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Skipped }),
		Help: "Input records that failed and were skipped by policy, in whatever stage."},
	{Name: "leat.behind.records", Unit: "{record}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Behind }),
		Help: "Input records that went to a retry topic untried, behind an earlier one of their key."},
	RecordDuration,

	StageIn,
	{Name: "leat.stage.records.out", Unit: "{record}", Kind: Counter, Labels: ofStage, read: stages(func(s *pipeline.StageStats) float64 { return float64(s.Out) }),
		Help: "Records that the stage passed on."},
	{Name: "leat.stage.records.dropped", Unit: "{record}", Kind: Counter, Labels: ofStage, read: stages(func(s *pipeline.StageStats) float64 { return float64(s.Dropped) }),
		Help: "Records that the stage let end on purpose, as a filter does."},
	{Name: "leat.stage.records.skipped", Unit: "{record}", Kind: Counter, Labels: ofStage, read: failures(func(s *pipeline.StageStats) int64 { return s.Skipped }),
		Help: "Input records that failed in the stage and were skipped by policy."},
	{Name: "leat.stage.dead_letters", Unit: "{record}", Kind: Counter, Labels: ofStage, read: deadLetters,
		Help: "Input records that failed in the stage and became dead letters."},
	{Name: "leat.stage.retried_later", Unit: "{record}", Kind: Counter, Labels: ofStage, read: retriedLater,
		Help: "Input records that failed in the stage and went to a retry topic."},
	{Name: "leat.stage.retries", Unit: "{retry}", Kind: Counter, Labels: ofStage, read: failures(func(s *pipeline.StageStats) int64 { return s.Retries }),
		Help: "Times that the stage waited to try again."},
	{Name: "leat.stage.time", Unit: "s", Kind: Counter, Labels: ofStage, read: stages(func(s *pipeline.StageStats) float64 { return s.Time.Sum().Seconds() }),
		Help: "Time spent in the stage, without those after it. Estimated from a part of the records where they are short."},

	{Name: "leat.consumer.partitions", Unit: "{partition}", Kind: UpDown, Labels: ofTopic, read: topics(func(t *topic) float64 { return t.partitions }),
		Help: "Partitions of the input topic that this process owns."},
	{Name: "leat.consumer.partitions.waiting", Unit: "{partition}", Kind: UpDown, read: one(func(s *pipeline.Snapshot) int64 { return s.Waiting }),
		Help: "Partitions that stand still while a stage waits to try again."},
	{Name: "leat.consumer.lag", Unit: "{record}", Kind: UpDown, Labels: ofTopic, read: topics(func(t *topic) float64 { return t.lag }),
		Help: "Offsets between the committed positions and the ends of the owned partitions, in all."},
	{Name: "leat.consumer.not_due", Unit: "{record}", Kind: UpDown, Labels: ofTopic, read: topics(func(t *topic) float64 { return t.notDue }),
		Help: "The same of partitions of retry topics that wait until their next record is due; the lag is without them."},
	{Name: "leat.consumer.max_lag", Unit: "{record}", Kind: Gauge, Labels: ofTopic, read: topics(func(t *topic) float64 { return t.maxLag }),
		Help: "The lag of the owned partition that is furthest behind."},
	{Name: "leat.consumer.silence", Unit: "s", Kind: Gauge, Labels: ofTopic, read: topics(func(t *topic) float64 { return t.silence.Seconds() }),
		Help: "The longest time since a broker has answered about an owned partition: the lag is as old as that."},

	{Name: "leat.commits", Unit: "{transaction}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.Commits }),
		Help: "Transactions committed; at least once, commits of positions."},
	{Name: "leat.aborts", Unit: "{transaction}", Kind: Counter, Labels: []string{Reason}, read: reasons(func(s *pipeline.Snapshot) map[string]int64 { return s.AbortsByReason }),
		Help: "Transactions aborted, whose input is replayed, by what failed."},
	{Name: "leat.unknown_outcomes", Unit: "{transaction}", Kind: Counter, Labels: []string{Reason}, read: reasons(func(s *pipeline.Snapshot) map[string]int64 { return s.UnknownByReason }),
		Help: "Transactions of which it is not known whether they are committed, by what failed; a new session asks the broker."},
	{Name: "leat.uncommitted.age", Unit: "s", Kind: Gauge, read: uncommitted,
		Help: "Since when there is finished work that is not committed."},
	TransactionDuration,
	TransactionCommitting,
	TransactionRecords,
	TransactionSize,

	{Name: "leat.table.entries", Unit: "{entry}", Kind: UpDown, Labels: ofTopic, read: tables(func(t pipeline.TableStats) (float64, bool) { return float64(t.Entries), true }),
		Help: "Entries of the table."},
	{Name: "leat.table.size", Unit: "By", Kind: UpDown, Labels: ofTopic, read: tables(func(t pipeline.TableStats) (float64, bool) { return float64(t.Bytes), true }),
		Help: "Serialized keys and values of the table."},
	{Name: "leat.table.lag", Unit: "{record}", Kind: Gauge, Labels: ofTopic, read: tables(func(t pipeline.TableStats) (float64, bool) { return float64(t.Lag), t.Lag >= 0 }),
		Help: "Offsets that the table is behind its topic; missing if that is not known."},

	{Name: "leat.cache.hits", Unit: "{lookup}", Kind: Counter, Labels: ofCache, read: caches(func(c *pipeline.CacheStats) int64 { return c.Hits }),
		Help: "Look-ups that the stage's cache answered."},
	{Name: "leat.cache.misses", Unit: "{lookup}", Kind: Counter, Labels: ofCache, read: caches(func(c *pipeline.CacheStats) int64 { return c.Misses }),
		Help: "Look-ups that went past the stage's cache, or waited for one that did."},
	{Name: "leat.cache.evictions", Unit: "{entry}", Kind: Counter, Labels: ofCache, read: caches(func(c *pipeline.CacheStats) int64 { return c.Evictions }),
		Help: "Entries that made room for others."},
	{Name: "leat.cache.entries", Unit: "{entry}", Kind: UpDown, Labels: ofCache, read: caches(func(c *pipeline.CacheStats) int64 { return int64(c.Entries) }),
		Help: "Entries in the stage's cache."},
	{Name: "leat.cache.size", Unit: "By", Kind: UpDown, Labels: ofCache, read: caches(func(c *pipeline.CacheStats) int64 { return c.Bytes }),
		Help: "What the entries cost."},

	{Name: "leat.producer.records.sent", Unit: "{record}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.RecordsSent }),
		Help: "Records put into requests, retries included."},
	ProducerAcked,
	ProducerFailed,
	{Name: "leat.producer.requests", Unit: "{request}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Requests }),
		Help: "Produce requests."},
	{Name: "leat.producer.request.time", Unit: "s", Kind: Counter, read: producerTime(func(m *kafka.Metrics) time.Duration { return m.RequestTime }),
		Help: "The requests' round trips, added up."},
	{Name: "leat.producer.throttle.time", Unit: "s", Kind: Counter, read: producerTime(func(m *kafka.Metrics) time.Duration { return m.ThrottleTime }),
		Help: "The pauses that brokers asked for, added up."},
	{Name: "leat.producer.batches", Unit: "{batch}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Batches }),
		Help: "Batches in the requests, retries included."},
	{Name: "leat.producer.batch.size", Unit: "By", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.BatchBytes }),
		Help: "Bytes in the batches before compression."},
	{Name: "leat.producer.retries", Unit: "{batch}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Retries }),
		Help: "Batches sent again."},
	{Name: "leat.producer.splits", Unit: "{batch}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Splits }),
		Help: "Batches cut in two because the broker takes no larger ones."},
	{Name: "leat.producer.expired", Unit: "{batch}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Expired }),
		Help: "Batches given up at the delivery time-out."},
	{Name: "leat.producer.disconnects", Unit: "{connection}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.Disconnects }),
		Help: "Connections to brokers that were lost."},
	{Name: "leat.producer.queued.records", Unit: "{record}", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.QueuedRecords }),
		Help: "Records that wait to be sent, or sent again."},
	{Name: "leat.producer.queued.size", Unit: "By", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.QueuedBytes }),
		Help: "Their bytes before compression."},
	{Name: "leat.producer.in_flight.requests", Unit: "{request}", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.InFlightRequests }),
		Help: "Produce requests without an answer."},
	{Name: "leat.producer.in_flight.records", Unit: "{record}", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.InFlightRecords }),
		Help: "Records in them."},
	{Name: "leat.producer.in_flight.size", Unit: "By", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.InFlightBytes }),
		Help: "Bytes in them before compression."},
	{Name: "leat.producer.buffer.available", Unit: "By", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.BufferAvailable }),
		Help: "What is free of the producer's buffer. Batches that are not full count as if they were."},
	{Name: "leat.producer.buffer.total", Unit: "By", Kind: UpDown, read: producer(func(m *kafka.Metrics) int64 { return m.BufferTotal }),
		Help: "The producer's buffer."},
	{Name: "leat.producer.linger", Unit: "s", Kind: Gauge, read: producerTime(func(m *kafka.Metrics) time.Duration { return m.Linger }),
		Help: "How long batches wait to be filled, now."},
	{Name: "leat.interceptor.failures", Unit: "{failure}", Kind: Counter, read: one(func(s *pipeline.Snapshot) int64 { return s.InterceptorFailures }),
		Help: "Errors and panics of interceptors."},
}

// Those of All that are also named elsewhere: what a histogram is told at once, and what
// the conventions have, too.
var (
	RecordDuration = &Instrument{Name: "leat.record.duration", Unit: "s", Kind: Histogram, Bounds: recordSeconds, read: recordTime,
		Help: "Time of a record from the begin of its chain to its end, waits included. Of short ones only a part is measured."}
	StageIn = &Instrument{Name: "leat.stage.records.in", Unit: "{record}", Kind: Counter, Labels: ofStage, read: stages(func(s *pipeline.StageStats) float64 { return float64(s.In) }),
		Help: "Records that entered the stage."}
	TransactionDuration = &Instrument{Name: "leat.transaction.duration", Unit: "s", Kind: Histogram, Labels: ofOutcome, Bounds: transactionSeconds,
		read: ends(func(e *pipeline.TransactionTotals) pipeline.Distribution { return e.Took }),
		Help: "Time from a transaction's first records to its end."}
	TransactionCommitting = &Instrument{Name: "leat.transaction.committing", Unit: "s", Kind: Histogram, Labels: ofOutcome, Bounds: transactionSeconds,
		read: ends(func(e *pipeline.TransactionTotals) pipeline.Distribution { return e.Committing }),
		Help: "The part of it in which it was committed or aborted, when no records are taken."}
	TransactionRecords = &Instrument{Name: "leat.transaction.records", Unit: "{record}", Kind: Histogram, Labels: ofOutcome, Bounds: transactionRecords,
		read: ends(func(e *pipeline.TransactionTotals) pipeline.Distribution { return e.Records }),
		Help: "Input records of a transaction."}
	TransactionSize = &Instrument{Name: "leat.transaction.size", Unit: "By", Kind: Histogram, Labels: ofOutcome, Bounds: transactionBytes,
		read: ends(func(e *pipeline.TransactionTotals) pipeline.Distribution { return e.Bytes }),
		Help: "Keys and values of a transaction's input and output."}
	ProducerAcked = &Instrument{Name: "leat.producer.records.acked", Unit: "{record}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.RecordsAcked }),
		Help: "Records that the broker has written."}
	ProducerFailed = &Instrument{Name: "leat.producer.records.failed", Unit: "{record}", Kind: Counter, read: producer(func(m *kafka.Metrics) int64 { return m.RecordsFailed }),
		Help: "Records that were not written, those of aborted transactions included."}
)

var (
	ofStage   = []string{Stage, StageKind}
	ofCache   = []string{Stage}
	ofTopic   = []string{Topic}
	ofOutcome = []string{Outcome}

	recordSeconds = []float64{
		1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60,
	}
	transactionSeconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	transactionRecords = []float64{1, 10, 100, 1e3, 1e4, 1e5, 1e6}
	transactionBytes   = []float64{1e3, 1e4, 1e5, 1e6, 1e7, 1e8}
)
