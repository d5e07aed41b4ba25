package stages

import (
	"cmp"
	"fmt"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// AggregateConfig says which windows [Aggregate] has, and where it keeps their values.
type AggregateConfig struct {
	// Topic keeps them. It must exist, with cleanup.policy=compact and at least as many
	// partitions as the input, and be used by nothing else.
	Topic string
	// Window is how long a window is, in whole milliseconds. Windows begin at multiples of
	// Every since 1970 in UTC. Default 0: one window for all time, which never closes.
	Window time.Duration
	// Every is how far apart windows begin, at most Window: with less (hopping windows) a
	// record is in Window / Every of them, and puts out as many values. Default Window (tumbling
	// windows).
	Every time.Duration
	// Grace is how long after its end, by the latest timestamp that was seen in the
	// partition, a window takes records that come late. Its value is kept so long. Default 1 h; 1
	// ms is nearly none.
	Grace time.Duration
	// MaxBytes bounds the keys and values of one partition, with some 200 bytes for each.
	// At the bound the pipeline fails ([ErrStateFull]) rather than forget a window that is open.
	// Default 64 MiB.
	MaxBytes int64
}

const (
	defaultGrace = time.Hour
	// maxWindows is how many windows a record may be in.
	maxWindows = 1000
)

func (c AggregateConfig) withDefaults(opts []pipeline.StageOption) (AggregateConfig, []pipeline.StageOption) {
	mistake := func(format string, args ...any) {
		opts = append(opts[:len(opts):len(opts)], pipeline.Invalid(fmt.Errorf("AggregateConfig: "+format, args...)))
	}
	if c.Window < 0 || c.Every < 0 || c.Grace < 0 || c.MaxBytes < 0 {
		mistake("a window of %v every %v, a grace of %v and %d bytes; use none below 0, and 0 for the default", c.Window, c.Every, c.Grace, c.MaxBytes)
		c = AggregateConfig{Topic: c.Topic}
	}
	c.Every = cmp.Or(c.Every, c.Window)
	switch {
	case c.Window%time.Millisecond != 0 || c.Every%time.Millisecond != 0 || c.Grace%time.Millisecond != 0:
		mistake("a window of %v every %v with a grace of %v; timestamps are whole milliseconds, so use whole ones", c.Window, c.Every, c.Grace)
	case c.Every > c.Window:
		mistake("windows of %v every %v leave gaps; Every is at most Window", c.Window, c.Every)
	case c.Every > 0 && c.Window/c.Every > maxWindows:
		mistake("windows of %v every %v: each record would be in %d, and at most %d are allowed", c.Window, c.Every, c.Window/c.Every, maxWindows)
	}
	c.Grace = cmp.Or(c.Grace, defaultGrace)
	c.MaxBytes = cmp.Or(c.MaxBytes, defaultStateBytes)
	return c, opts
}
