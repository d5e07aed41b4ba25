package kafka

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"github.com/leat-stream/leat/pipeline"
)

// DefaultRegion is the region of keys that name none.
const DefaultRegion = "default"

// ByRegion partitions by the region that a key begins with, up to its first ':',
// as in "us-east:order-123". A region in the map goes to its fixed partition, so
// that a region's records share one. A key without ':' or with a leading one has
// the region "default". What is not in the map, or whose partition the topic does
// not have, is hashed like any key; records without a key are spread.
//
// A fixed partition may be hot: it takes all of its region's records. [Regions] is the
// same with a map that can be replaced.
func ByRegion(regions map[string]int32) pipeline.Partitioner {
	r := new(Regions)
	r.set(regions)
	return r
}

// Regions is [ByRegion] with a map that can be replaced while records are sent, by
// [Regions.Replace] or by following a [RegionSource]. Its zero value has no regions; it
// must not be copied.
//
// Each record is partitioned by the map of that moment. When a region moves, its
// records before and after are in two partitions, so that their order is no longer
// that of the sends; a pipeline's replay may put a record elsewhere than the attempt
// that was aborted did, and committed is only the last.
type Regions struct {
	partitions atomic.Pointer[map[string]int32] // replaced, never changed
}

// NewRegions returns Regions with a map to begin with.
func NewRegions(regions map[string]int32) (*Regions, error) {
	r := new(Regions)
	return r, r.Replace(regions)
}

// Replace puts a copy of another map in place of the present one. A negative partition
// is an error, and leaves the map as it is.
func (r *Regions) Replace(regions map[string]int32) error {
	for _, region := range slices.Sorted(maps.Keys(regions)) {
		if p := regions[region]; p < 0 {
			return fmt.Errorf("%w: region %q: partition %d is negative", pipeline.ErrInvalid, region, p)
		}
	}
	r.set(regions)
	return nil
}

func (r *Regions) set(regions map[string]int32) {
	clone := maps.Clone(regions)
	r.partitions.Store(&clone)
}

// Map returns a copy of the present map.
func (r *Regions) Map() map[string]int32 {
	if m := r.partitions.Load(); m != nil {
		return maps.Clone(*m)
	}
	return nil
}

// Partition implements [pipeline.Partitioner].
func (r *Regions) Partition(_ string, key, _ []byte, partitions int32) int32 {
	if key == nil {
		return pipeline.AnyPartition
	}
	if m := r.partitions.Load(); m != nil {
		if fixed, ok := (*m)[string(regionOf(key))]; ok && fixed >= 0 && fixed < partitions {
			return fixed
		}
	}
	return hashPartition(key, partitions)
}

var defaultRegion = []byte(DefaultRegion)

func regionOf(key []byte) []byte {
	if i := bytes.IndexByte(key, ':'); i > 0 {
		return key[:i]
	}
	return defaultRegion
}
