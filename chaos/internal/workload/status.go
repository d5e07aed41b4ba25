package workload

import "time"

// Status is a line that a worker writes to its standard output, as JSON: often, and
// once more at its end.
type Status struct {
	At time.Time `json:"at"`
	// Instance is the worker's name, Incarnation that of its process.
	Instance    string `json:"instance"`
	Incarnation string `json:"incarnation"`

	// What the pipeline counts, from the start of the process.
	Records    int64     `json:"records"`
	Outputs    int64     `json:"outputs"`
	Dead       int64     `json:"dead_letters"`
	Committed  int64     `json:"committed"`
	Commits    int64     `json:"commits"`
	Aborts     int64     `json:"aborts"`
	Sessions   int64     `json:"sessions"`
	Recoveries int64     `json:"recoveries"`
	LastCommit time.Time `json:"last_commit,omitzero"`
	Waiting    int64     `json:"waiting"`
	Partitions []int32   `json:"partitions"`
	// Injected counts the transactions that were made to fail.
	Injected int64 `json:"injected"`
	// Slow counts the records that were made to take long, and have.
	Slow int64 `json:"slow"`
	// Aborted are the units that were aborted since the last line, and that nobody
	// may ever see.
	Aborted []string `json:"aborted,omitempty"`

	// What the process takes, in bytes; RSS is 0 where it cannot be read.
	Goroutines int    `json:"goroutines"`
	Heap       uint64 `json:"heap"`
	RSS        uint64 `json:"rss"`

	// End is set on the last line, Error as well if the worker failed.
	End   bool   `json:"end,omitempty"`
	Error string `json:"error,omitempty"`
}
