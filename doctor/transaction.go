package doctor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/IBM/sarama"

	"github.com/leat-stream/leat/internal/cluster"
)

const maxTimeout = "transaction.max.timeout.ms"

// transactionTimeout compares the producer's transaction time-out with the most that
// each broker allows: any of them may be its coordinator.
func (e *exam) transactionTimeout(ctx context.Context) {
	if !e.transactional() {
		return
	}
	ours := e.producer.TransactionTimeout
	lowest := time.Duration(-1)
	for _, n := range e.nodes {
		s, err := e.client.BrokerSettings(ctx, n.id, n.addr)
		if err = errors.Join(err, s.Err); err != nil {
			change := ""
			if cluster.IsAuth(err) {
				change = e.allow("DescribeConfigs", "--cluster")
			}
			e.find(CheckTransactionTimeout, n.addr, NotVisible, change, "%s cannot be seen: %s", maxTimeout, line(err))
			continue
		}
		ms, err := strconv.ParseInt(s.Values[maxTimeout], 10, 64)
		if err != nil {
			e.find(CheckTransactionTimeout, n.addr, NotVisible, "", "%s is %q, which is not a number", maxTimeout, s.Values[maxTimeout])
			continue
		}
		if most := time.Duration(ms) * time.Millisecond; lowest < 0 || most < lowest {
			lowest = most
		}
	}
	switch {
	case lowest < 0: // reported
	case ours > lowest:
		e.find(CheckTransactionTimeout, "", Fault, fmt.Sprintf("set TransactionTimeout to %v at most, or %s to %d or more on every broker", lowest, maxTimeout, ours.Milliseconds()),
			"TransactionTimeout is %v, and brokers allow %v: they refuse the producer", ours, lowest)
	default:
		e.ok(CheckTransactionTimeout, "", "%v, and brokers allow %v", ours, lowest)
	}
}

// transactionVersion says whether the cluster could end transactions more safely: an
// upgrade of the brokers does not raise the version by itself.
func (e *exam) transactionVersion() {
	if !e.transactional() {
		return
	}
	lowest, level := int16(math.MaxInt16), int16(0)
	for _, n := range e.nodes {
		lowest, level = min(lowest, n.txns.Supported), max(level, n.txns.Level)
	}
	switch {
	case level >= 2:
		e.ok(CheckTransactionVersion, "", "version %d: each transaction has an epoch of its own", level)
	case lowest >= 2:
		e.find(CheckTransactionVersion, "", Warning, e.tool("kafka-features.sh", "upgrade --feature transaction.version=2"),
			"version %d, though all brokers can do version 2 (KIP-890): what a broker is sent late can still become part of the next transaction", level)
	default:
		e.ok(CheckTransactionVersion, "", "version %d; version 2 needs brokers of Kafka 4.0", level)
	}
}

// transactionalID looks for a transaction of somebody else under our transactional id,
// and whether the user may use it.
func (e *exam) transactionalID(ctx context.Context) {
	if !e.transactional() {
		return
	}
	id, ours := e.TransactionalID, true
	if id == "" {
		cfg := e.Config
		if ours = cfg.Instance != ""; !ours {
			cfg.Instance = "doctor" // stands for the names that workers make up
		}
		id = cfg.TransactionalID(cfg.Group)
	}
	state, err := e.client.DescribeTransaction(ctx, id)
	switch {
	case err != nil && cluster.IsAuth(err):
		on := "--transactional-id " + id
		if !ours {
			on = "--resource-pattern-type prefixed --transactional-id " + id[:len(id)-len("doctor-0")]
		}
		e.find(CheckACLs, id, Fault, e.allow("Write", on), "the user has no right Write, nor Describe, on the transactional id")
	case errors.Is(err, sarama.ErrUnsupportedVersion):
		e.find(CheckTransactionalID, id, NotVisible, "", "brokers tell of transactions from Kafka 3.0 on")
	case err != nil:
		e.find(CheckTransactionalID, id, NotVisible, "", "its coordinator does not answer: %s", line(err))
	case state == nil:
		e.transactionalRights(id)
		e.ok(CheckTransactionalID, id, "nobody has used it")
	default:
		e.transactionalRights(id)
		e.transactionState(id, state)
	}
}

func (e *exam) transactionState(id string, state *sarama.TransactionState) {
	switch state.TransactionState {
	case "Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence":
		since := "an unknown time"
		if state.TransactionStartTime > 0 {
			since = time.UnixMilli(state.TransactionStartTime).UTC().Format(time.RFC3339)
		}
		e.find(CheckTransactionalID, id, Warning, "stop the producer that uses it, or give this one another id; if it has died, starting this one ends its transaction",
			"a transaction is open since %s (%s, producer %d): readers of committed records wait behind it, and of two live producers each ends the other's", since, state.TransactionState, state.ProducerID)
	default:
		e.ok(CheckTransactionalID, id, "no transaction is open (%s)", state.TransactionState)
	}
}
