package pipeline

import (
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Kafka's rule for topic names (Topic.java): legal characters, at most 249.
var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

// Validate reports every mistake in the graph at once, in an error that wraps
// [ErrInvalid], or returns nil. It connects to nothing. [Run] calls it first.
func (p *Pipeline) Validate() error { return p.validate(Limits{}) }

// Limits are the time-outs that a stage's retries must not outlast: beyond them
// the transaction is aborted or the partition taken away, and the retries start
// again, for ever.
type Limits struct {
	// Transaction is the transaction time-out. 0 means none.
	Transaction time.Duration
	// Rebalance is the time a partition may take to be given up. 0 means none.
	Rebalance time.Duration
}

func (p *Pipeline) validate(limits Limits) error {
	bad := slices.Clone(p.mistakes)
	report := func(format string, args ...any) { bad = append(bad, fmt.Errorf(format, args...)) }

	if p.name == "" {
		report("the pipeline has no name; it is the default of the consumer group and part of the transactional id")
	}
	if !slices.ContainsFunc(p.nodes, func(n *node) bool { return n.kind == kindInput }) {
		report("no input; begin with pipeline.From")
	}
	if err := p.policy.validate(); err != nil {
		bad = append(bad, err)
	}
	if p.deadLetterRate < 0 {
		report("DeadLetterLimit must not be negative")
	}
	if p.deadLetter != "" && !topicName.MatchString(p.deadLetter) {
		report("dead-letter topic %q is not a legal topic name", p.deadLetter)
	}
	if p.policy.action == actionDeadLetter && p.deadLetter == "" {
		report("the policy is dead-letter, but no topic is named; add pipeline.DeadLetter(topic) to New")
	}

	if p.deadLetter != "" && slices.Contains(p.topics(kindInput), p.deadLetter) {
		report("topic %q is both an input and the dead-letter topic; a record that fails would go round for ever", p.deadLetter)
	}
	if slices.ContainsFunc(p.mids, func(m Middleware) bool { return m == nil }) {
		report("Use was given a nil middleware")
	}

	names := map[string]bool{}
	for _, n := range p.nodes {
		switch {
		case n.kind == kindOutput:
		case n.name == "":
			report("a stage of kind %q has no name", n.label)
		case names[n.name]:
			report("two stages are named %q; names must be unique, as they are what errors and metrics say (to read a topic twice, use its stream twice)", n.name)
		default:
			names[n.name] = true
		}
		p.validateNode(n, limits, report)
	}
	for _, n := range p.nodes {
		if n.kind == kindInput && slices.Contains(p.tableTopics(), n.topics[0]) {
			report("topic %q is both an input and a table; read it as one of the two", n.topics[0])
		}
	}
	p.validateStates(report)
	p.validateRetries(report)
	return invalid(fmt.Sprintf("pipeline %q", p.name), bad)
}

func (p *Pipeline) validateNode(n *node, limits Limits, report func(string, ...any)) {
	for i, o := range n.ports {
		if len(o.consumers) == 0 {
			which := ""
			if len(n.ports) > 1 {
				which = fmt.Sprintf(" (branch %d of %d)", i+1, len(n.ports))
			}
			report("the stream of %q%s has no consumer; end it with pipeline.To", n.name, which)
		}
	}
	if (n.kind == kindInput || n.kind == kindOutput) && len(n.topics) == 0 {
		report("%s %q has no topics", n.label, n.name)
	}
	for _, topic := range n.topics {
		if !topicName.MatchString(topic) {
			report("%s %q: %q is not a legal topic name", n.label, n.name, topic)
		}
	}
	if n.kind != kindStage && n.serde == nil {
		report("%s %q has no serde", n.label, n.name)
	}
	for _, serde := range []any{n.keys, n.serde} {
		if v, ok := serde.(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				report("%s %q: %w", n.label, n.name, err)
			}
		}
	}
	pol := n.policy()
	if n.cfg.hasPolicy && pol.action == actionDeadLetter && p.deadLetter == "" {
		report("stage %q has the policy dead-letter, but no topic is named; add pipeline.DeadLetter(topic) to New", n.name)
	}
	if n.cfg.hasTombs && n.cfg.tombstones.action == actionDeadLetter && p.deadLetter == "" {
		report("input %q sends tombstones to the dead letters, but no topic is named; add pipeline.DeadLetter(topic) to New", n.name)
	}
	longest := pol.longest() + time.Duration(pol.retries+1)*n.cfg.timeout
	if pol.retries > 0 {
		if limits.Transaction > 0 && longest >= limits.Transaction {
			report("stage %q may retry for %v, longer than the transaction time-out (%v); retry less or raise TransactionTimeout", n.name, longest, limits.Transaction)
		}
		if limits.Rebalance > 0 && longest >= limits.Rebalance {
			report("stage %q may retry for %v, longer than the rebalance time-out (%v); retry less or raise RebalanceTimeout", n.name, longest, limits.Rebalance)
		}
	}
}

// Inputs returns the input topics, their retry topics included, sorted and each once.
func (p *Pipeline) Inputs() []string { return sorted(append(p.topics(kindInput), p.retryTopics()...)) }

// Tables returns the topics that are read as tables, those of marks included (see
// [RetryInOrder]), sorted and each once.
func (p *Pipeline) Tables() []string { return sorted(append(p.tableTopics(), p.markTopics()...)) }

// Outputs returns the topics that the pipeline may write to, retry topics, their marks and
// the dead-letter topic included, sorted and each once.
func (p *Pipeline) Outputs() []string {
	all := slices.Concat(p.topics(kindOutput), p.retryTopics(), p.markTopics())
	if p.deadLetter != "" {
		all = append(all, p.deadLetter)
	}
	return sorted(all)
}

func (p *Pipeline) topics(k kind) []string {
	var all []string
	for _, n := range p.nodes {
		if n.kind == k {
			all = append(all, n.topics...)
		}
	}
	return sorted(all)
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return slices.Compact(s)
}
