package kafka

import (
	"bytes"
	"maps"

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
// A fixed partition may be hot: it takes all of its region's records.
func ByRegion(regions map[string]int32) pipeline.Partitioner {
	return &byRegion{regions: maps.Clone(regions)}
}

type byRegion struct{ regions map[string]int32 }

func (b *byRegion) Partition(_ string, key, _ []byte, partitions int32) int32 {
	if key == nil {
		return pipeline.AnyPartition
	}
	region := []byte(nil)
	if i := bytes.IndexByte(key, ':'); i > 0 {
		region = key[:i]
	}
	fixed, ok := b.regions[string(region)]
	if region == nil {
		fixed, ok = b.regions[DefaultRegion]
	}
	if ok && fixed >= 0 && fixed < partitions {
		return fixed
	}
	return hashPartition(key, partitions)
}
