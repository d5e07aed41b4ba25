package send

import (
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/pipeline"
)

// world is what the machine asks to do things. No method blocks; outcomes come
// back as calls of the machine's produced, viewed and called.
type world interface {
	// produce sends a request on its node's connection.
	produce(r *request)
	// hangUp gives a node's connection up: nothing more is sent on it, and what
	// is under way comes back with an error soon.
	hangUp(n *node)
	// view asks for the cluster and the topics.
	view(topics []string)
	// call asks a coordinator, or any broker.
	call(c *call)
	// dropCall breaks the call under way, which comes back with an error soon.
	dropCall(c *call)
}

// node is one connection to one broker, or the wish for it. After its first error
// it is never used again.
type node struct {
	id       int32
	addr     string
	inFlight int
	conn     any // the world's
}

// request is batches for one node. Its outcome is either an error, which says
// nothing about the batches, or a result for each.
type request struct {
	node    *node
	batches []*batch
	joins   bool // its partitions become part of the transaction with it: transaction version 2
	sent    time.Time

	err     error
	results []result
	took    time.Duration
	paused  time.Duration // the broker's throttle time
}

// result is a broker's answer for one batch.
type result struct {
	code   sarama.KError
	offset int64
	// appended is the broker's timestamp where it sets it.
	appended time.Time
	// leader and leaderEpoch are a hint, -1 for none.
	leader, leaderEpoch int32
	message             string
}

// view is what a broker knows of the cluster.
type view struct {
	brokers map[int32]string
	topics  map[string]topicView
}

type topicView struct {
	code  sarama.KError
	parts []partView
}

type partView struct{ id, leader, epoch int32 }

type callKind uint8

const (
	callInit    callKind = iota // InitProducerID, new
	callBump                    // InitProducerID with id and epoch (KIP-360)
	callAdd                     // AddPartitionsToTxn, of transaction version 1
	callOffsets                 // AddOffsetsToTxn, of transaction version 1
	callCommit                  // TxnOffsetCommit, at the group's coordinator
	callEnd                     // EndTxn
)

func (k callKind) String() string {
	return [...]string{"InitProducerId", "InitProducerId", "AddPartitionsToTxn", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"}[k]
}

// call is a request to a coordinator. It is repeated unchanged until there is a
// definite answer or its deadline has passed.
type call struct {
	kind       callKind
	pid        int64
	epoch      int16
	v2         bool // of transaction version 2
	partitions map[string][]int32
	offsets    []pipeline.Offset
	group      pipeline.GroupMetadata
	commit     bool

	deadline   time.Time
	tries      int
	ambiguous  bool // an attempt may have been executed, or may still be
	dropped    bool
	patient    bool // it is repeated even if the cluster refuses us
	rediscover bool // the coordinator that is known is not it
	done       func(answer, error)
}

// answer is a definite one.
type answer struct {
	code  sarama.KError
	why   error // the code with what it is about, nil if that is all
	pid   int64
	epoch int16
	v2    bool // the cluster has transaction version 2
}

func (a answer) err() error {
	if a.why != nil {
		return a.why
	}
	return a.code
}
