package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"time"

	"github.com/leat-stream/leat/pipeline"
)

// RegionSource returns the regions and their partitions as of now, from wherever they
// are kept. It should end with its context.
type RegionSource func(ctx context.Context) (map[string]int32, error)

// maxRegionsFile bounds what is read of a file.
const maxRegionsFile = 1 << 20

// RegionsFile is a [RegionSource] that reads a file with one JSON object, as in
// {"us-east": 0, "eu-west": 2}, of at most 1 MiB. Replace the file as a whole, by a
// rename: half a file is an error, and keeps the regions as they are.
func RegionsFile(path string) RegionSource {
	return func(context.Context) (map[string]int32, error) {
		regions, err := readRegions(path)
		if err != nil {
			return nil, fmt.Errorf("regions of %q: %w", path, err)
		}
		return regions, nil
	}
}

func readRegions(path string) (regions map[string]int32, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err := io.ReadAll(io.LimitReader(f, maxRegionsFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxRegionsFile:
		return nil, fmt.Errorf("%w: the file has more than %d bytes", pipeline.ErrInvalid, maxRegionsFile)
	}
	if err := json.Unmarshal(text, &regions); err != nil {
		return nil, fmt.Errorf(`%w: not an object of regions and partitions, as in {"us-east": 0}: %w`, pipeline.ErrInvalid, err)
	}
	if regions == nil {
		return nil, fmt.Errorf("%w: null instead of an object; {} has no regions", pipeline.ErrInvalid)
	}
	return regions, nil
}

// LoadRegions returns the [Regions] that a source has now.
func LoadRegions(ctx context.Context, source RegionSource) (*Regions, error) {
	m, err := source(ctx)
	if err != nil {
		return nil, err
	}
	return NewRegions(m)
}

// Follow asks the source again and again, with pauses of interval (at least a
// millisecond), until ctx ends, and returns then. What it answers replaces the present
// map; an error leaves that as it is. changed, which may be nil, is told each change
// and each error. Run it in a goroutine of yours and wait for it.
func (r *Regions) Follow(ctx context.Context, source RegionSource, interval time.Duration, changed func(error)) {
	tick := time.NewTicker(max(interval, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		m, err := source(ctx)
		if ctx.Err() != nil {
			return
		}
		before := r.Map()
		if err == nil && maps.Equal(m, before) {
			continue
		}
		if err == nil {
			err = r.Replace(m)
		}
		if changed != nil {
			changed(err)
		}
	}
}
