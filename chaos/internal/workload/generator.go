package workload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// Generator makes inputs. Each is a function of the seed and its number alone, so
// that a run can be repeated, and gone on with. The zero value of a share means that
// there are none of that kind.
type Generator struct {
	// Seed tells workloads apart.
	Seed uint64
	// Partitions is the number of the input's partitions.
	Partitions int32
	// Keys is the number of keys. Each is in one partition: its number's.
	Keys uint64

	// The shares of kinds, of 1: the others are regular.
	Nulls, Dropped, Poison, Swells, Bursts float64
	// Large is the share of regular inputs with a filler of 100 to 300 KB; that of
	// the others is 50 bytes to MaxFiller.
	Large float64
	// MaxFiller is the longest usual filler, in bytes. Default: 2,000.
	MaxFiller int
}

// Usual is a generator of some of everything, but nothing that a broker refuses.
func Usual(seed uint64, partitions int32) Generator {
	return Generator{
		Seed: seed, Partitions: partitions, Keys: 1000 * uint64(partitions),
		Nulls: 0.01, Dropped: 0.05, Poison: 0.002, Swells: 0.0005, Large: 0.0005,
	}
}

// Input is a record to be written.
type Input struct {
	Partition int32
	// Key and Value are the caller's. Value is nil for null.
	Key, Value []byte
}

// Validate reports every mistake at once.
func (g Generator) Validate() error {
	var errs []error
	if g.Partitions < 1 || g.Keys < 1 {
		errs = append(errs, errors.New("a workload needs a partition and a key"))
	}
	sum := 0.0
	for _, share := range []float64{g.Nulls, g.Dropped, g.Poison, g.Swells, g.Bursts} {
		if share < 0 {
			errs = append(errs, errors.New("a share must not be negative"))
		}
		sum += share
	}
	if sum > 1 || g.Large < 0 || g.Large > 1 {
		errs = append(errs, errors.New("the shares of kinds are more than 1"))
	}
	if g.maxFiller() < minFiller {
		errs = append(errs, fmt.Errorf("a longest filler of %d bytes is less than %d", g.MaxFiller, minFiller))
	}
	return errors.Join(errs...)
}

const minFiller = 50

func (g Generator) maxFiller() int {
	if g.MaxFiller == 0 {
		return 2000
	}
	return g.MaxFiller
}

// Input makes input number n.
func (g Generator) Input(n uint64) Input {
	r := random(g.Seed ^ n*0x9e3779b97f4a7c15)
	key := r.next() % g.Keys
	in := Input{Partition: int32(key % uint64(g.Partitions)), Key: strconv.AppendUint([]byte("key-"), key, 10)}
	kind := g.kind(r.share())
	if kind == Null {
		return in
	}
	size := minFiller + r.next()%uint64(g.maxFiller()-minFiller+1)
	if kind == Regular && r.share() < g.Large {
		size = 100_000 + r.next()%200_001
	}
	in.Value = make([]byte, Head+size)
	in.Value[0] = byte(kind)
	binary.BigEndian.PutUint64(in.Value[1:], n)
	r.fill(in.Value[Head:])
	return in
}

func (g Generator) kind(x float64) Kind {
	for _, k := range []struct {
		share float64
		kind  Kind
	}{{g.Nulls, Null}, {g.Dropped, Dropped}, {g.Poison, Poison}, {g.Swells, Swells}, {g.Bursts, Bursts}} {
		if x < k.share {
			return k.kind
		}
		x -= k.share
	}
	return Regular
}

// random is splitmix64: small, and good enough for workloads.
type random uint64

func (r *random) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// share is from 0 to below 1.
func (r *random) share() float64 { return math.Ldexp(float64(r.next()>>11), -53) }

// fill makes half of b random and half of it easy to compress.
func (r *random) fill(b []byte) {
	var word [8]byte
	for i := 0; i < len(b); i += 16 {
		binary.LittleEndian.PutUint64(word[:], r.next())
		copy(b[i:], word[:])
	}
}
