package pipeline

import (
	"slices"
	"time"
)

// Topology is a pipeline's graph as data, for drawings and metrics.
type Topology struct {
	// Pipeline is its name, DeadLetter the topic of its dead letters, or "".
	Pipeline, DeadLetter string
	// Nodes are in the order in which they were built; a node's place here is its
	// number in [Edge] and its place in Snapshot.Stages.
	Nodes []Node
	Edges []Edge
}

// Node is an input, a stage, an output or a table.
type Node struct {
	// Name is the one in errors, metrics and dead letters. Kind is input, output or
	// table, and for a stage the word that Apply was given, such as map.
	Name, Kind string
	// Topics are those of an input, an output or a table; RetryTopics are an input's, in the
	// order in which a record goes through them.
	Topics      []string
	RetryTopics []RetryTier
	// Marks is the topic of the marks of an input that is retried in order, or "".
	Marks string
	// Tables are the topics of the tables that a stage reads.
	Tables []string
	// Policy says what becomes of a record that fails here.
	Policy string
}

// RetryTier is a retry topic and how long its records wait.
type RetryTier struct {
	Topic string
	Delay time.Duration
}

// Edge is a way that records take from one node to another.
type Edge struct {
	// From and To are numbers of nodes.
	From, To int
	// Branch numbers the outgoing streams of a node that has several, from 1; it is
	// 0 if there is but one.
	Branch int
}

// Topology returns the graph. It works on a pipeline that is not valid, too.
func (p *Pipeline) Topology() Topology {
	t := Topology{Pipeline: p.name, DeadLetter: p.deadLetter}
	for _, n := range p.nodes {
		node := Node{Name: n.name, Kind: n.label, Tables: slices.Clone(n.cfg.reads), Policy: n.policy().String()}
		node.Topics = slices.Clone(n.topics)
		if n.cfg.order != nil {
			node.Marks = n.cfg.order.marks
		}
		for _, r := range n.cfg.retries {
			node.RetryTopics = append(node.RetryTopics, RetryTier{Topic: r.topic, Delay: r.delay})
		}
		t.Nodes = append(t.Nodes, node)
	}
	for _, e := range p.edges() {
		t.Edges = append(t.Edges, Edge{From: e.from.id, To: e.to.id, Branch: e.branch()})
	}
	return t
}

// edge leads from a node's port to one of its consumers.
type edge struct {
	from *node
	port int
	to   *node
}

func (e edge) branch() int {
	if len(e.from.ports) < 2 {
		return 0
	}
	return e.port + 1
}

// edges are those of the whole graph: by node, port and consumer, each in order.
func (p *Pipeline) edges() (all []edge) {
	for _, n := range p.nodes {
		for i, o := range n.ports {
			for _, c := range o.consumers {
				all = append(all, edge{n, i, c})
			}
		}
	}
	return all
}
