package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

var errNoDelays = errors.New("RetryTopics without a delay; give one for each retry")

// refuseRetries is for nodes that are no inputs.
func (n *node) refuseRetries() {
	if n.cfg.retries != nil {
		n.p.mistake("%s %q: RetryTopics, RetryTopic and RetryInOrder are options of inputs", n.label, n.name)
	}
}

// validateRetries reports what is wrong with retry topics, and with policies that need them.
func (p *Pipeline) validateRetries(report func(string, ...any)) {
	others := map[string]string{}
	for _, k := range []struct {
		kind kind
		what string
	}{{kindTable, "a table"}, {kindOutput, "an output"}, {kindInput, "an input"}} {
		for _, topic := range p.topics(k.kind) {
			others[topic] = k.what
		}
	}
	if p.deadLetter != "" {
		others[p.deadLetter] = "the dead-letter topic"
	}
	for _, n := range p.nodes {
		if n.kind != kindInput {
			continue
		}
		for _, r := range n.cfg.retries {
			if !topicName.MatchString(r.topic) {
				report("input %q: retry topic %q is not a legal topic name", n.name, r.topic)
			}
			if r.delay < time.Millisecond {
				report("input %q: retry topic %q has the delay %v; use 1 ms or more", n.name, r.topic, r.delay)
			}
			if what := others[r.topic]; what != "" {
				report("input %q: retry topic %q is %s, too; use a topic of its own", n.name, r.topic, what)
			}
			others[r.topic] = fmt.Sprintf("a retry topic of input %q", n.name)
		}
		if o := n.cfg.order; o != nil {
			for _, d := range o.delays[1:] {
				if d < time.Millisecond {
					report("input %q: RetryInOrder has the delay %v; use 1 ms or more", n.name, d)
				}
			}
			if !topicName.MatchString(o.marks) {
				report("input %q: %q, for the marks of its retry topic, is not a legal topic name", n.name, o.marks)
			}
			if what := others[o.marks]; what != "" {
				report("input %q: topic %q, for the marks of its retry topic, is %s, too", n.name, o.marks, what)
			}
			others[o.marks] = fmt.Sprintf("that of the marks of input %q", n.name)
		}
	}
	p.validateRetryLater(report)
}

// validateRetryLater reports stages whose records have nowhere to go.
func (p *Pipeline) validateRetryLater(report func(string, ...any)) {
	var later []string // what retries later
	if p.policy.action == actionRetryLater {
		later = append(later, "the pipeline")
	}
	for _, n := range p.nodes {
		own := n.cfg.hasPolicy && n.cfg.policy.action == actionRetryLater || n.cfg.hasTombs && n.cfg.tombstones.action == actionRetryLater
		if own {
			later = append(later, fmt.Sprintf("%s %q", n.label, n.name))
		}
		switch {
		case n.kind != kindTable:
		case own, !n.cfg.hasPolicy && p.policy.action == actionRetryLater:
			report("table %q has the policy retry-later, its own or the pipeline's, but is read in order and once; give it another by OnError", n.name)
		}
	}
	if len(later) == 0 {
		return
	}
	if p.deadLetter == "" {
		report("%s has the policy retry-later, but no topic is named for records whose retries are used up; add pipeline.DeadLetter(topic) to New", later[0])
	}
	for _, n := range p.nodes {
		if n.kind != kindInput || len(n.cfg.retries) > 0 {
			continue
		}
		if stage := p.laterThan(n); stage != "" {
			report("%s has the policy retry-later, but input %q, whose records reach it, has no retry topics; add pipeline.RetryTopics(delays...) to From", stage, n.name)
		}
	}
}

// laterThan names what retries an input's records later, or "".
func (p *Pipeline) laterThan(input *node) string {
	if p.policy.action == actionRetryLater {
		return "the pipeline"
	}
	for _, n := range input.reach(nil) {
		if n.policy().action == actionRetryLater || n.cfg.hasTombs && n.cfg.tombstones.action == actionRetryLater {
			return fmt.Sprintf("%s %q", n.label, n.name)
		}
	}
	return ""
}

// reach adds the node and all that its records can come to.
func (n *node) reach(all []*node) []*node {
	if slices.Contains(all, n) {
		return all
	}
	all = append(all, n)
	for _, o := range n.ports {
		for _, c := range o.consumers {
			all = c.reach(all)
		}
	}
	return all
}
