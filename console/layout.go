package console

import (
	"slices"

	"github.com/leat-stream/leat/pipeline"
)

// graph is a topology with a place for everything, in units of the drawing: layers
// along the records' way, rows across it. The page turns it as the screen has room.
type graph struct {
	Nodes      []placedNode `json:"nodes"`
	Edges      []placedEdge `json:"edges"`
	DeadLetter string       `json:"deadLetter,omitempty"`
	Layers     int          `json:"layers"`
	Rows       float64      `json:"rows"` // from the first to the last, so 0 for a chain
}

type placedNode struct {
	Name   string   `json:"name"`
	Kind   string   `json:"kind"`
	Topics []string `json:"topics,omitempty"`
	// RetryTopics are an input's.
	RetryTopics []string `json:"retryTopics,omitempty"`
	Policy      string   `json:"policy,omitempty"`
	Layer       int      `json:"layer"`
	Row         float64  `json:"row"`
}

// placedEdge goes from one node to another, by points in the layers between.
type placedEdge struct {
	From   int       `json:"from"`
	To     int       `json:"to"`
	Branch int       `json:"branch,omitempty"`
	Kind   edgeKind  `json:"kind"`
	Via    []float64 `json:"via,omitempty"` // rows, in the layers after From's
}

type edgeKind string

const (
	edgeRecords edgeKind = "records" // the first ones, in the order of Topology.Edges
	edgeTable   edgeKind = "table"   // from a table to a stage that looks up in it
	edgeTopic   edgeKind = "topic"   // from an output to an input that reads it again
)

// layout places a topology in layers (after Sugiyama): a node's layer is after those
// of all nodes before it; within the layers the order that crosses fewest edges is
// looked for, and rows are such that edges are as straight as the order permits.
func layout(t pipeline.Topology) graph {
	g := graph{DeadLetter: t.DeadLetter, Nodes: make([]placedNode, len(t.Nodes)), Edges: []placedEdge{}}
	for i, n := range t.Nodes {
		g.Nodes[i] = placedNode{Name: n.Name, Kind: n.Kind, Topics: n.Topics, Policy: n.Policy}
		for _, r := range n.RetryTopics {
			g.Nodes[i].RetryTopics = append(g.Nodes[i].RetryTopics, r.Topic)
		}
	}
	for _, e := range t.Edges {
		g.Edges = append(g.Edges, placedEdge{From: e.From, To: e.To, Branch: e.Branch, Kind: edgeRecords})
	}
	for i, n := range t.Nodes {
		for _, table := range n.Tables {
			if from := reader(t, "table", table); from >= 0 {
				g.Edges = append(g.Edges, placedEdge{From: from, To: i, Kind: edgeTable})
			}
		}
		if n.Kind != "output" {
			continue
		}
		for _, topic := range n.Topics {
			if to := reader(t, "input", topic); to > i {
				g.Edges = append(g.Edges, placedEdge{From: i, To: to, Kind: edgeTopic})
			}
		}
	}
	g.assignLayers()
	newArrangement(&g).place(&g)
	return g
}

func reader(t pipeline.Topology, kind, topic string) int {
	return slices.IndexFunc(t.Nodes, func(n pipeline.Node) bool { return n.Kind == kind && slices.Contains(n.Topics, topic) })
}

// assignLayers gives every node the first layer after all before it; those that nothing
// leads to move up to where they are needed. Nodes are built before their consumers: an
// edge that leads back is none of a valid graph and counts for nothing.
func (g *graph) assignLayers() {
	order := make([]int, len(g.Edges))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return g.Edges[a].From - g.Edges[b].From })
	fed := make([]bool, len(g.Nodes))
	for _, i := range order {
		if e := g.Edges[i]; e.forward() {
			g.Nodes[e.To].Layer = max(g.Nodes[e.To].Layer, g.Nodes[e.From].Layer+1)
			fed[e.To] = true
		}
	}
	for n := range g.Nodes {
		next := -1
		for _, e := range g.Edges {
			if e.From == n && e.forward() && (next < 0 || g.Nodes[e.To].Layer < next) {
				next = g.Nodes[e.To].Layer
			}
		}
		if !fed[n] && next > 0 {
			g.Nodes[n].Layer = next - 1
		}
	}
	for _, n := range g.Nodes {
		g.Layers = max(g.Layers, n.Layer+1)
	}
}

func (e placedEdge) forward() bool { return e.From < e.To }

// arrangement is the graph with a point in each layer that an edge passes.
type arrangement struct {
	points []point
	layers [][]int // points, in their order
}

type point struct {
	layer         int
	before, after []int   // points in the neighbouring layers
	row           float64 // as the arranging goes on
	width         float64 // of the place it takes
}

const (
	nodeWidth = 1.0
	edgeWidth = 0.5 // an edge that only passes needs less
)

// newArrangement has the nodes as its first points, then those of the edges in order.
func newArrangement(g *graph) *arrangement {
	a := &arrangement{layers: make([][]int, g.Layers)}
	for _, n := range g.Nodes {
		a.add(n.Layer, nodeWidth)
	}
	for _, e := range g.Edges {
		if !e.forward() {
			continue
		}
		from := e.From
		for l := g.Nodes[e.From].Layer + 1; l < g.Nodes[e.To].Layer; l++ {
			p := a.add(l, edgeWidth)
			a.connect(from, p)
			from = p
		}
		a.connect(from, e.To)
	}
	return a
}

func (a *arrangement) add(layer int, width float64) int {
	a.points = append(a.points, point{layer: layer, width: width})
	a.layers[layer] = append(a.layers[layer], len(a.points)-1)
	return len(a.points) - 1
}

func (a *arrangement) connect(from, to int) {
	a.points[from].after = append(a.points[from].after, to)
	a.points[to].before = append(a.points[to].before, from)
}

// sweeps is how often layers are gone through; few graphs change after three.
const sweeps = 8

// place orders the points and gives the graph its rows.
func (a *arrangement) place(g *graph) {
	a.order()
	a.rows()
	for i := range g.Nodes {
		g.Nodes[i].Row = a.points[i].row
	}
	next := len(g.Nodes)
	for i := range g.Edges {
		e := &g.Edges[i]
		if !e.forward() {
			continue
		}
		for l := g.Nodes[e.From].Layer + 1; l < g.Nodes[e.To].Layer; l++ {
			e.Via = append(e.Via, a.points[next].row)
			next++
		}
	}
	for _, p := range a.points {
		g.Rows = max(g.Rows, p.row)
	}
}

// order sorts each layer by where its neighbours are, from the front and from the back
// in turn, and keeps the order with the fewest crossings.
func (a *arrangement) order() {
	a.number()
	best, fewest := a.clone(), a.crossings()
	for i := 0; i < sweeps && fewest > 0; i++ {
		forth := i%2 == 0
		a.sweep(forth, func(layer []int) {
			for _, p := range layer {
				if mean, ok := a.mean(a.points[p].neighbours(forth)); ok {
					a.points[p].row = mean
				}
			}
			slices.SortStableFunc(layer, func(p, q int) int {
				switch d := a.points[p].row - a.points[q].row; {
				case d < 0:
					return -1
				case d > 0:
					return 1
				default:
					return 0
				}
			})
			for i, p := range layer {
				a.points[p].row = float64(i)
			}
		})
		if n := a.crossings(); n < fewest {
			best, fewest = a.clone(), n
		}
	}
	a.layers = best
	a.number()
}

func (a *arrangement) clone() [][]int {
	c := make([][]int, len(a.layers))
	for i, l := range a.layers {
		c[i] = slices.Clone(l)
	}
	return c
}

func (a *arrangement) number() {
	for _, l := range a.layers {
		for i, p := range l {
			a.points[p].row = float64(i)
		}
	}
}

func (a *arrangement) sweep(forth bool, visit func([]int)) {
	for i := range a.layers {
		if !forth {
			i = len(a.layers) - 1 - i
		}
		visit(a.layers[i])
	}
}

func (p *point) neighbours(before bool) []int {
	if before {
		return p.before
	}
	return p.after
}

func (a *arrangement) mean(points []int) (mean float64, ok bool) {
	for _, p := range points {
		mean += a.points[p].row / float64(len(points))
	}
	return mean, len(points) > 0
}

// crossings counts the pairs of edges between two layers that cross.
func (a *arrangement) crossings() (n int) {
	for _, layer := range a.layers {
		for i, p := range layer {
			for _, q := range layer[i+1:] {
				for _, x := range a.points[p].after {
					for _, y := range a.points[q].after {
						if a.points[x].row > a.points[y].row {
							n++
						}
					}
				}
			}
		}
	}
	return n
}

// rows moves the points of each layer towards their neighbours, as near as their order
// and width permit.
func (a *arrangement) rows() {
	for i := range 2 * sweeps {
		forth := i%2 == 0
		a.sweep(forth, func(layer []int) {
			wish := make([]float64, len(layer))
			for i, p := range layer {
				wish[i] = a.points[p].row
				if mean, ok := a.mean(a.points[p].neighbours(forth)); ok {
					wish[i] = mean
				}
			}
			for i, row := range a.spread(layer, wish) {
				a.points[layer[i]].row = row
			}
		})
	}
	least := 0.0
	for i, p := range a.points {
		if i == 0 || p.row < least {
			least = p.row
		}
	}
	for i := range a.points {
		a.points[i].row -= least
	}
}

// spread returns the rows nearest to those that are wished for (by least squares) which
// keep the order and the distances: neighbours that would come too near move as one.
func (a *arrangement) spread(layer []int, wish []float64) []float64 {
	type block struct {
		sum   float64
		first int
		n     int
	}
	offset := make([]float64, len(layer)) // from the first, with the least distances
	for i := 1; i < len(layer); i++ {
		offset[i] = offset[i-1] + (a.points[layer[i-1]].width+a.points[layer[i]].width)/2
	}
	var blocks []block
	for i, w := range wish {
		blocks = append(blocks, block{w - offset[i], i, 1})
		for len(blocks) > 1 {
			last, prev := blocks[len(blocks)-1], blocks[len(blocks)-2]
			if prev.sum/float64(prev.n) <= last.sum/float64(last.n) {
				break
			}
			blocks = append(blocks[:len(blocks)-2], block{prev.sum + last.sum, prev.first, prev.n + last.n})
		}
	}
	rows := make([]float64, len(layer))
	for _, b := range blocks {
		for i := b.first; i < b.first+b.n; i++ {
			rows[i] = b.sum/float64(b.n) + offset[i]
		}
	}
	return rows
}
