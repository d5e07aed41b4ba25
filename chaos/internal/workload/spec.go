package workload

import "fmt"

// Kind is what an input's first byte says of it.
type Kind byte

// The kinds. Every other byte is that of a poisonous input, too.
const (
	Regular Kind = 'r'
	Dropped Kind = 'd'
	Poison  Kind = '!'
	Swells  Kind = 's' // has an output that is larger than the producer takes
	Bursts  Kind = 'b' // has an output that the broker refuses
	// Null is the kind of an input without a value. It stands in no value.
	Null Kind = 0
)

// Head is the number of bytes before a filler.
const Head = 9

// The sizes of outputs that are too large, and the setting that the right topic
// must have for the second, in bytes. Leat's producer takes up to 1 MiB by default.
const (
	SwollenSize          = 1<<20 + 1<<10
	BurstSize            = 700 << 10
	RightMaxMessageBytes = 512 << 10
)

// CountsRoom is by how many partitions the input may grow, if workers count.
const CountsRoom = 9

// The headers of outputs, with decimal text: where the input stood, the output's
// index, and the unit's name.
const (
	HeaderPartition = "source.partition"
	HeaderOffset    = "source.offset"
	HeaderIndex     = "index"
	HeaderUnit      = "unit"
)

// The headers of Leat's dead letters that say where the input stood.
const (
	DeadLetterPartition = "leat.partition"
	DeadLetterOffset    = "leat.offset"
)

// Output topics are known by number.
const (
	Left = iota
	Right
	DeadLetters
	Manifests
	NumOutputs
)

// Topics are the names of a workload's topics.
type Topics struct {
	Input string
	// Outputs are the output topics, by number.
	Outputs [NumOutputs]string
	// Counts is where workers keep their counts, or empty: they have none.
	Counts string
}

// NewTopics returns names that begin with prefix.
func NewTopics(prefix string) Topics {
	return Topics{
		Input: prefix + ".input",
		Outputs: [NumOutputs]string{
			Left: prefix + ".left", Right: prefix + ".right", DeadLetters: prefix + ".dead", Manifests: prefix + ".manifests",
		},
	}
}

// WithCounts returns the topics of workers that count.
func (t Topics) WithCounts(prefix string) Topics {
	t.Counts = prefix + ".counts"
	return t
}

// All returns all names.
func (t Topics) All() []string {
	all := append([]string{t.Input}, t.Outputs[:]...)
	if t.Counts != "" {
		all = append(all, t.Counts)
	}
	return all
}

// Manifest is the JSON value of a manifest: what a unit consists of.
type Manifest struct {
	Unit      string `json:"unit"`
	Partition int32  `json:"partition"`
	// First and Last are the offsets of the first and the last input that the
	// pipeline has seen in it.
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	// Left and Right are numbers of outputs.
	Left  int `json:"left"`
	Right int `json:"right"`
}

// String describes the manifest.
func (m Manifest) String() string {
	return fmt.Sprintf("unit %s of partition %d, offsets %d to %d, %d left, %d right", m.Unit, m.Partition, m.First, m.Last, m.Left, m.Right)
}
