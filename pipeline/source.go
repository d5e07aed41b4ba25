package pipeline

import "context"

// Guarantee is what a pipeline promises about its outputs.
type Guarantee uint8

const (
	// ExactlyOnce is the default: outputs and input positions are committed in
	// one transaction, and readers with isolation.level=read_committed see each
	// output once.
	ExactlyOnce Guarantee = iota
	// AtLeastOnce commits a position after every output before it was
	// acknowledged. A failure may repeat outputs; none is lost.
	AtLeastOnce
)

// String returns the guarantee as flags and logs spell it.
func (g Guarantee) String() string {
	if g == AtLeastOnce {
		return "at-least-once"
	}
	return "exactly-once"
}

// Terms are what one end of a pipeline can keep, known once it is open.
type Terms struct {
	// Guarantee is the strongest one that this end supports.
	Guarantee Guarantee
	// Cluster identifies where it stores its data. A transaction covers one
	// cluster: exactly once needs the same at both ends, or a [PositionSink].
	Cluster string
	// AsksStart says of a source that it begins each partition where [Worker.Start]
	// says.
	AsksStart bool
	// Limits are the time-outs of this end, for Validate.
	Limits Limits
	// MaxRecordSize bounds one output in bytes, uncompressed; 0 sets no bound.
	MaxRecordSize int
	// Intercept, of a sink, if not nil, is shown every output before its value is
	// encoded, every dead letter and every record for a retry topic: on the goroutine
	// of its partition, several at once, and again when the input is replayed, whose outputs are made anew. What
	// it leaves must pass [Outgoing.Check], or the record fails with
	// [ErrUnknownTopic]. A panic is the output's.
	Intercept func(*Outgoing)
}

// Spec tells a source and a sink what the pipeline needs of them.
type Spec struct {
	// Pipeline is the pipeline's name.
	Pipeline string
	// Guarantee is the one that was asked for.
	Guarantee Guarantee
	// Inputs, Tables and Outputs are topics, sorted.
	Inputs, Tables, Outputs []string
	// States are the topics in which stages keep their state. They are among Outputs, too.
	States []StateTopic
	// Cluster is the Cluster of the source's Terms, when the sink is opened.
	Cluster string
}

// Source delivers input records. Run calls Open once, then Run on one goroutine,
// and Close at the end.
type Source interface {
	// Open connects and checks what can be checked: that the topics exist and
	// that the addresses answer. It returns within seconds.
	Open(ctx context.Context, spec Spec) (Terms, error)

	// Run delivers partitions and their records to w until ctx ends, then gives
	// everything up in order and returns nil. It returns an error only for what
	// it cannot get over by itself. For each session it calls, in this order,
	// w.Ready before it fetches the committed positions, w.Begin, w.Start (if its
	// Terms say so) and w.Claim for each partition (from any goroutine), and w.End
	// when all claims are released.
	Run(ctx context.Context, w *Worker) error

	// Close releases connections. It is called once, after Run has returned or
	// has been given up, and returns within seconds.
	Close() error
}

// TableSource is a [Source] that can read tables.
type TableSource interface {
	// Follow reads all of a topic from its beginning, outside any group and only
	// what is committed, and calls apply for each record, in order within a
	// partition and on one goroutine. It calls loaded once, when apply has
	// returned for everything up to the ends as of the call, and goes on until
	// ctx ends. An error of apply ends it.
	Follow(ctx context.Context, topic string, apply func(context.Context, *Raw) error, loaded func()) error
}

// TableCatcher is a [TableSource] that can say when a table is as new as its topic: what
// [RetryInOrder] needs.
type TableCatcher interface {
	TableSource
	// CaughtUp returns when everything has been applied that had been written to a topic
	// at the time of the call. The topic is one that is followed. What is in a transaction
	// that is open then counts: it is applied when that has been committed, or passed when it
	// was aborted. It may be called from any goroutine, and ends when ctx does.
	CaughtUp(ctx context.Context, topic string) error
}

// TableLagger is a [TableSource] that knows how far its tables are behind.
type TableLagger interface {
	// TableLag returns how many offsets of the topic have not been applied yet.
	// Control records count until the next record after them has come. It is
	// false if the topic is not followed.
	TableLag(topic string) (lag int64, ok bool)
}

// Session is one membership of a source: while it lasts, its claims are owned by
// this worker and no other.
type Session interface {
	// Group returns the group metadata as of now: member id and generation may
	// change inside a session.
	Group() GroupMetadata
	// CommitOffsets commits positions outside any transaction, for AtLeastOnce.
	// An error marked with Retriable, such as for a rebalance under way, leaves
	// them to the next commit.
	CommitOffsets(ctx context.Context, offsets []Offset) error
}

// GroupMetadata identifies the member on whose behalf positions are committed in
// a transaction (KIP-447), so that one that lost its partitions cannot.
type GroupMetadata struct {
	Group      string
	Member     string
	Instance   string // group.instance.id, or ""
	Generation int32
}
