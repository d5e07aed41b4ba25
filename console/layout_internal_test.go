package console

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/leat-stream/leat/pipeline"
)

// topologyOf reads "a>b c>d": nodes in the order in which they are named.
func topologyOf(kinds map[string]string, edges ...[2]string) (t pipeline.Topology) {
	number := map[string]int{}
	for _, e := range edges {
		for _, name := range e {
			if _, ok := number[name]; !ok {
				number[name] = len(t.Nodes)
				t.Nodes = append(t.Nodes, pipeline.Node{Name: name, Kind: kinds[name]})
			}
		}
		t.Edges = append(t.Edges, pipeline.Edge{From: number[e[0]], To: number[e[1]]})
	}
	return t
}

func TestLayoutOfAChainIsStraight(t *testing.T) {
	g := layout(topologyOf(nil, [2]string{"a", "b"}, [2]string{"b", "c"}, [2]string{"c", "d"}))
	if g.Layers != 4 || g.Rows != 0 {
		t.Errorf("%d layers, rows to %v", g.Layers, g.Rows)
	}
	for i, n := range g.Nodes {
		if n.Layer != i || n.Row != 0 {
			t.Errorf("%s is in layer %d, row %v", n.Name, n.Layer, n.Row)
		}
	}
}

// Branches part and join without crossings, and an edge past a layer has its own way.
func TestLayoutOfBranches(t *testing.T) {
	g := layout(topologyOf(nil,
		[2]string{"in", "split"}, [2]string{"split", "a"}, [2]string{"split", "b"}, [2]string{"a", "a2"},
		[2]string{"a2", "join"}, [2]string{"b", "join"}, [2]string{"join", "out"}))
	if n := crossings(g); n != 0 {
		t.Errorf("%d crossings", n)
	}
	node := map[string]placedNode{}
	for _, n := range g.Nodes {
		node[n.Name] = n
	}
	if node["join"].Layer != 4 || node["out"].Layer != 5 || node["a"].Row == node["b"].Row {
		t.Errorf("%+v", node)
	}
	for _, e := range g.Edges {
		if g.Nodes[e.From].Name == "b" && len(e.Via) != 1 {
			t.Errorf("from b to join by %v", e.Via)
		}
	}
}

// The order in which nodes were built need not be the one that crosses least.
func TestLayoutUncrosses(t *testing.T) {
	g := layout(topologyOf(nil, [2]string{"in", "a"}, [2]string{"in", "b"}, [2]string{"b", "x"}, [2]string{"a", "y"}, [2]string{"x", "z"}))
	row := map[string]float64{}
	for _, n := range g.Nodes {
		row[n.Name] = n.Row
	}
	if (row["a"] < row["b"]) != (row["y"] < row["x"]) {
		t.Errorf("the ways to x and y cross: %v", row)
	}
}

// An input that is needed late stands late; tables and topics that are read again are edges, too.
func TestLayoutOfTablesAndTopics(t *testing.T) {
	g := layout(pipeline.Topology{
		Nodes: []pipeline.Node{
			{Name: "customers", Kind: "table", Topics: []string{"customers"}}, {Name: "in", Kind: "input", Topics: []string{"in"}}, {Name: "map", Kind: "map"},
			{Name: "enrich", Kind: "enrich", Tables: []string{"customers"}}, {Name: "mid", Kind: "output", Topics: []string{"mid"}},
			{Name: "mid", Kind: "input", Topics: []string{"mid"}}, {Name: "out", Kind: "output", Topics: []string{"out"}},
		},
		Edges: []pipeline.Edge{{From: 1, To: 2}, {From: 2, To: 3}, {From: 3, To: 4}, {From: 5, To: 6}}, DeadLetter: "dlq",
	})
	if g.Nodes[0].Layer != 1 || g.Nodes[5].Layer != 4 || g.DeadLetter != "dlq" {
		t.Errorf("the table is in layer %d, the second input in %d", g.Nodes[0].Layer, g.Nodes[5].Layer)
	}
	kinds := []edgeKind{}
	for _, e := range g.Edges {
		kinds = append(kinds, e.Kind)
	}
	if want := []edgeKind{edgeRecords, edgeRecords, edgeRecords, edgeRecords, edgeTable, edgeTopic}; !slices.Equal(kinds, want) {
		t.Errorf("edges %v", kinds)
	}
}

// Of any graph: edges go on, nothing lies on another, all is within the drawing, and it
// is the same each time.
func TestLayoutOfAnyGraph(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var top pipeline.Topology
		for i := range 1 + rng.IntN(30) {
			top.Nodes = append(top.Nodes, pipeline.Node{Name: fmt.Sprint(i), Kind: "map"})
			for range rng.IntN(3) {
				if i > 0 {
					top.Edges = append(top.Edges, pipeline.Edge{From: rng.IntN(i), To: i})
				}
			}
		}
		if seed%10 == 0 { // of a graph that is not valid
			top.Edges = append(top.Edges, pipeline.Edge{From: len(top.Nodes) - 1, To: 0})
		}
		g := layout(top)
		if !reflect.DeepEqual(g, layout(top)) {
			t.Fatalf("seed %d: two layouts", seed)
		}
		for i, n := range g.Nodes {
			if n.Layer < 0 || n.Layer >= g.Layers || n.Row < 0 || n.Row > g.Rows {
				t.Fatalf("seed %d: %+v outside of %d layers, %v rows", seed, n, g.Layers, g.Rows)
			}
			for _, m := range g.Nodes[:i] {
				if d := n.Row - m.Row; n.Layer == m.Layer && d > -.999 && d < .999 {
					t.Fatalf("seed %d: %+v and %+v lie on each other", seed, n, m)
				}
			}
		}
		for _, e := range g.Edges {
			from, to := g.Nodes[e.From], g.Nodes[e.To]
			if e.From < e.To && (from.Layer >= to.Layer || len(e.Via) != to.Layer-from.Layer-1) {
				t.Fatalf("seed %d: from layer %d to %d by %v", seed, from.Layer, to.Layer, e.Via)
			}
		}
	}
}

func TestLayoutOfNothing(t *testing.T) {
	if g := layout(pipeline.Topology{}); g.Layers != 0 || g.Edges == nil {
		t.Errorf("%+v", g)
	}
}

func crossings(g graph) int {
	a := newArrangement(&g)
	a.order()
	return a.crossings()
}
