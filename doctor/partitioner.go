package doctor

import (
	"context"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"hash/maphash"
	"slices"
	"time"

	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
)

const (
	// sampled keyed records of a topic, at most.
	sampled = 1000
	// sampledPartitions of it, at most, evenly spread.
	sampledPartitions = 50
	// explained is the share of keys from which a partitioner explains a topic: some may
	// have been put elsewhere by hand.
	explained = 0.95
	// sampleTimeout bounds the reading of one topic.
	sampleTimeout = 15 * time.Second
)

// key is what is kept of a key and where it was found.
type key struct {
	partition int32
	id        uint64 // tells keys apart
	murmur2   uint32
	crc32     uint32
	fnv1a     uint32
}

// hashes are the known ways to choose one of n partitions.
var hashes = []struct {
	name   string
	choose func(k key, n int32) int32
}{
	{"crc32, librdkafka's default (consistent_random)", func(k key, n int32) int32 { return int32(k.crc32 % uint32(n)) }},
	{"FNV-1a, sarama's default", func(k key, n int32) int32 {
		p := int32(k.fnv1a) % n
		return max(p, -p)
	}},
	{"FNV-1a, unsigned (librdkafka's fnv1a and others)", func(k key, n int32) int32 { return int32(k.fnv1a % uint32(n)) }},
}

func byMurmur2(k key, n int32) int32 { return int32(k.murmur2&0x7fffffff) % n }

// partitioner looks whether murmur2, by which the producer places keys, explains where
// those in the topic are. If not, records with one key end up in two partitions, and
// their order and joins by key are lost.
func (e *exam) partitioner(ctx context.Context, topic string) {
	n := int32(len(e.topics[topic].Partitions))
	if n < 2 {
		e.ok(CheckPartitioner, topic, "a single partition")
		return
	}
	keys, err := e.sample(ctx, topic, n)
	switch {
	case len(keys) == 0 && err != nil:
		e.find(CheckPartitioner, topic, NotVisible, e.allow("Read", "--topic "+topic)+", if that is what it lacks", "its records cannot be read: %s", line(err))
		return
	case len(keys) == 0:
		e.ok(CheckPartitioner, topic, "no record with a key at the partitions' ends")
		return
	}
	rest := ""
	if err != nil {
		rest = "; not all partitions could be read: " + line(err)
	}
	if share(keys, n, byMurmur2) >= explained {
		e.ok(CheckPartitioner, topic, "murmur2 explains %d of %d keys%s", count(keys, n, byMurmur2), len(keys), rest)
		return
	}
	e.find(CheckPartitioner, topic, Warning, e.samePartitioner(),
		"the hash of the key (murmur2, as Java's producer) explains the partition of only %d of %d keys%s%s", count(keys, n, byMurmur2), len(keys), explanation(keys, n), rest)
}

func (e *exam) samePartitioner() string {
	return "have every producer of the topic use one partitioner (librdkafka: partitioner=murmur2_random; sarama: NewMurmur2Partitioner), " +
		"give ours theirs, or accept " + CheckPartitioner + " if it is meant"
}

// explanation names what else explains the keys.
func explanation(keys []key, n int32) string {
	for _, h := range hashes {
		if share(keys, n, h.choose) >= explained {
			return "; what does is " + h.name
		}
	}
	for before := n - 1; before > 0; before-- { // partitions were added: old records stay
		if share(keys, before, byMurmur2) >= explained {
			return fmt.Sprintf("; they fit %d partitions: the topic has been given more, and new records of old keys go elsewhere", before)
		}
	}
	if twice := inTwo(keys); twice > 0 {
		return fmt.Sprintf("; %d keys are in more than one partition", twice)
	}
	return ""
}

func count(keys []key, n int32, choose func(key, int32) int32) (out int) {
	for _, k := range keys {
		if choose(k, n) == k.partition {
			out++
		}
	}
	return out
}

func share(keys []key, n int32, choose func(key, int32) int32) float64 {
	return float64(count(keys, n, choose)) / float64(len(keys))
}

// inTwo counts keys that were found in more than one partition.
func inTwo(keys []key) int {
	at := map[uint64]int{}
	for _, k := range keys {
		at[k.id]++
	}
	n := 0
	for _, partitions := range at {
		if partitions > 1 {
			n++
		}
	}
	return n
}

// sample reads the ends of the topic's partitions, and returns each key that it finds,
// once for each partition that has it. What was read before an error is returned with
// it.
func (e *exam) sample(ctx context.Context, topic string, n int32) (keys []key, err error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTimeout)
	defer cancel()
	seed := maphash.MakeSeed()
	parts := spread(n)
	quota := int64(sampled / len(parts))
	seen := map[key]bool{}
	for _, p := range parts {
		e := e.client.Tail(ctx, pipeline.Partition{Topic: topic, Partition: p}, quota, func(raw []byte) {
			sum := fnv.New32a()
			_, _ = sum.Write(raw)
			seen[key{p, maphash.Bytes(seed, raw), murmur2.Sum(raw), crc32.ChecksumIEEE(raw), sum.Sum32()}] = true
		})
		if e != nil && err == nil {
			err = e
		}
	}
	for k := range seen {
		keys = append(keys, k)
	}
	return keys, err
}

// spread chooses the partitions to be sampled.
func spread(n int32) (out []int32) {
	step := max(1, float64(n)/sampledPartitions)
	for at := 0.0; int32(at) < n; at += step {
		out = append(out, int32(at))
	}
	return slices.Compact(out)
}
