package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ApplyState appends a stage that keeps state in a compacted topic of its own, for each
// input partition in the partition of the same number. The stage puts out what changes in
// its state as records of changes, with a key; a nil value deletes the key. They are in one
// transaction with the outputs and the position of the records that they come of. In its
// Assigned hook it reads all of it back with [StageContext.Restore].
//
// The topic must exist, with cleanup.policy=compact and at least as many partitions as the
// input. No other stage and no other pipeline may use it. The stage must be reached from
// one input only, and one without retry topics: two topics have partitions of the same
// numbers.
func ApplyState[In, Out any](s Stream[In], kind, name, topic string,
	stage func(sc *StageContext, next Next[Out], changes Next[[]byte]) Next[In], opts ...StageOption,
) Stream[Out] {
	keeps := stageOptionFunc(func(c *stageConfig) { c.state = topic })
	out, changes := Apply2(s, kind, name, stage, append(opts[:len(opts):len(opts)], keeps)...)
	To(changes, topic, verbatim{}, PartitionBy(SamePartition))
	return out
}

// verbatim is bytes as they stand.
type verbatim struct{}

func (verbatim) Append(_ context.Context, dst []byte, _ Slot, v []byte) ([]byte, error) {
	if v == nil {
		return nil, nil
	}
	return append(dst, v...), nil
}
func (verbatim) Decode(_ context.Context, _ Slot, data []byte) ([]byte, error) { return data, nil }
func (verbatim) View(v []byte) []byte                                          { return v }

// SamePartition puts an output into the partition with the number of the input partition
// that it comes from. The topic must have as many partitions.
var SamePartition Partitioner = samePartition{AnyPartition}

// samePartition holds the number, once a task is compiled.
type samePartition struct{ number int32 }

func (p samePartition) Partition(string, []byte, []byte, int32) int32 { return p.number }

// StateTopic is a topic in which a stage keeps its state.
type StateTopic struct {
	// Topic is its name, Stage the stage's.
	Topic, Stage string
	// Input is the topic whose partitions it is the state of.
	Input string
}

// States returns the topics in which stages keep their state, in the order in which the
// stages were built.
func (p *Pipeline) States() []StateTopic {
	var all []StateTopic
	for _, n := range p.nodes {
		if n.cfg.state == "" {
			continue
		}
		s := StateTopic{Topic: n.cfg.state, Stage: n.name}
		if inputs := p.inputsOf(n); len(inputs) > 0 {
			s.Input = inputs[0]
		}
		all = append(all, s)
	}
	return all
}

// inputsOf returns the inputs from which a node is reached.
func (p *Pipeline) inputsOf(n *node) (topics []string) {
	for _, in := range p.nodes {
		if in.kind == kindInput && in.reaches(n, map[*node]bool{}) {
			topics = append(topics, in.name)
		}
	}
	return topics
}

func (n *node) reaches(to *node, seen map[*node]bool) bool {
	if n == to {
		return true
	}
	seen[n] = true
	for _, o := range n.ports {
		for _, c := range o.consumers {
			if !seen[c] && c.reaches(to, seen) {
				return true
			}
		}
	}
	return false
}

func (p *Pipeline) validateStates(report func(string, ...any)) {
	owner := map[string]string{}
	for _, n := range p.nodes {
		topic := n.cfg.state
		if topic == "" {
			continue
		}
		if first, ok := owner[topic]; ok {
			report("stages %q and %q both keep their state in topic %q; give each its own", first, n.name, topic)
			continue
		}
		owner[topic] = n.name
		if inputs := p.inputsOf(n); len(inputs) > 1 {
			report("stage %q keeps state in topic %q and is reached from several inputs (%q), whose partitions have the same numbers; bring them together in one topic with pipeline.Through", n.name, topic, inputs)
		}
		for _, in := range p.nodes {
			if in.kind == kindInput && len(in.cfg.retries) > 0 && in.reaches(n, map[*node]bool{}) {
				report("stage %q keeps state in topic %q by the partitions of input %q, whose retry topics have partitions of the same numbers and other records; give retry topics to an input behind the stage (pipeline.Through)", n.name, topic, in.name)
			}
		}
		outputs := 0
		for _, o := range p.nodes {
			switch uses := slices.Contains(o.topics, topic); {
			case !uses:
			case o.kind == kindOutput:
				outputs++
			default:
				report("topic %q is the state of stage %q and also an %s; nothing else may use it", topic, n.name, o.label)
			}
		}
		if outputs > 1 || p.deadLetter == topic {
			report("topic %q is the state of stage %q and is also written by others; nothing else may use it", topic, n.name)
		}
	}
}

// StatePartitionsError says that a state topic has fewer partitions than its input.
type StatePartitionsError struct {
	StateTopic
	// Have is the number of partitions of the state topic, Need that of the input.
	Have, Need int32
}

// Error names both topics and says what to do.
func (e *StatePartitionsError) Error() string {
	return fmt.Sprintf("topic %q, the state of stage %q, has %d partitions, and its input %q has %d: each partition's state is in the one with the same number; add partitions to %q",
		e.Topic, e.Stage, e.Have, e.Input, e.Need, e.Topic)
}

// Unwrap returns [ErrInvalid].
func (e *StatePartitionsError) Unwrap() error { return ErrInvalid }

// CheckStates is for sources: it returns a *[StatePartitionsError] for each state topic
// that has fewer partitions than its input, joined, or nil. counts has the partitions of
// the topics.
func (s *Spec) CheckStates(counts map[string]int32) error {
	var bad []error
	for _, st := range s.States {
		if have, need := counts[st.Topic], counts[st.Input]; have < need {
			bad = append(bad, Fatal(&StatePartitionsError{st, have, need}))
		}
	}
	return errors.Join(bad...)
}

// StateTopics are the names of States.
func (s *Spec) StateTopics() []string {
	var names []string
	for _, st := range s.States {
		names = append(names, st.Topic)
	}
	return names
}
