package send

// rule is a rule of the machine. Tests switch single ones off, to show that the
// simulation notices.
type rule uint16

const (
	ruleFirstAlone rule = 1 << iota // 1: nothing follows the first batch of an epoch before it is acknowledged
	ruleOwnAnswer                   // 2: a batch is settled by its own answer only
	ruleRaise                       // 3: after anything ambiguous the next transaction has another epoch
	ruleSameNumber                  // 4: a retry keeps its sequence
	ruleHole                        // 5: after a numbered batch was given up, others resolve, then the epoch moves on
	ruleRepeatEnd                   // 6: an ambiguous EndTxn is repeated until its answer is definite
	ruleSpan                        // 4: the oldest open batch is among the five that the broker remembers
	ruleHeadAlone                   // 4: in a retry the head goes first, and alone
	ruleOneLeader                   // 4: a partition flies to one broker at a time
	ruleHintEpoch                   // a leader is replaced by one of a later epoch only
	ruleReleased                    // a connection that has failed refuses requests until the machine lets go of it
	ruleRenew                       // a session is renewed before the broker ends it, with nothing under way
	ruleEpochEach                   // each transaction has an epoch of its own, where the cluster can (transaction version 2)
)

// keeps reports whether a rule is in force, as all are outside of tests.
func (c *Config) keeps(r rule) bool { return c.without&r == 0 }
