package kafka_test

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/leat-stream/leat/embedded"
	"github.com/leat-stream/leat/internal/murmur2"
	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/serde"
	"github.com/leat-stream/leat/sinks/kafka"
)

// vector is what Kafka's Java client makes of a key.
type vector struct {
	key        []byte
	hash       int32
	partitions map[int32]int32 // of how many: which
}

// vectors reads what scripts/murmur2-vectors has written.
func vectors(t *testing.T) (all []vector) {
	t.Helper()
	f, err := os.Open("testdata/murmur2.txt")
	noError(t, err, "open the vectors")
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		v := vector{}
		var key string
		var of [5]int32
		_, err := fmt.Sscan(lines.Text(), &key, &v.hash, &of[0], &of[1], &of[2], &of[3], &of[4])
		noError(t, err, "parse "+lines.Text())
		v.key, err = hex.DecodeString(key[1:]) // after an x, so that the empty key is a word
		noError(t, err, "decode "+key)
		v.partitions = map[int32]int32{1: of[0], 3: of[1], 4: of[2], 12: of[3], 50: of[4]}
		all = append(all, v)
	}
	noError(t, lines.Err(), "read the vectors")
	if len(all) < 200 {
		t.Fatalf("only %d vectors", len(all))
	}
	return all
}

func TestHashKeyIsJavas(t *testing.T) {
	unmapped := kafka.ByRegion(nil)
	for _, v := range vectors(t) {
		if got := int32(murmur2.Sum(v.key)); got != v.hash {
			t.Errorf("murmur2(%x) = %d, Java has %d", v.key, got, v.hash)
		}
		for n, want := range v.partitions {
			if got := kafka.HashKey.Partition("t", v.key, nil, n); got != want {
				t.Errorf("HashKey of %x among %d: %d, Java has %d", v.key, n, got, want)
			}
			if got := unmapped.Partition("t", v.key, nil, n); got != want {
				t.Errorf("ByRegion without regions, of %x among %d: %d, Java has %d", v.key, n, got, want)
			}
		}
	}
}

func TestByRegion(t *testing.T) {
	fixed := map[string]int32{"us-east": 0, "us-west": 1, "eu-west": 2, "ap-south": 3}
	withDefault := map[string]int32{"us-east": 0, kafka.DefaultRegion: 2}
	odd := map[string]int32{"far": 99, "negative": -1, "last": 3, "": 1}
	const hashed = -2
	for _, tt := range []struct {
		regions    map[string]int32
		key        string
		partitions int32
		want       int32
	}{
		{fixed, "us-east:order-123", 4, 0},
		{fixed, "us-west:order-123", 4, 1},
		{fixed, "eu-west:order-123", 4, 2},
		{fixed, "ap-south:order-123", 4, 3},
		{fixed, "us-east:", 4, 0},
		{fixed, "us-east::", 4, 0},
		{fixed, "us-east:order:123", 4, 0},
		{fixed, "sa-east:order-123", 4, hashed},
		{fixed, "US-EAST:order-123", 4, hashed},
		{fixed, " us-east:order-123", 4, hashed},
		{fixed, "us-east", 4, hashed}, // no ':': region default, which is not mapped
		{fixed, ":order-123", 4, hashed},
		{fixed, "", 4, hashed},
		{fixed, "ap-south:order-123", 3, hashed}, // partition 3 does not exist
		{withDefault, "order-123", 4, 2},
		{withDefault, ":order-123", 4, 2},
		{withDefault, ":", 4, 2},
		{withDefault, "", 4, 2},
		{withDefault, "default:order-123", 4, 2},
		{withDefault, "sa-east:order-123", 4, hashed}, // names a region that is not mapped
		{withDefault, "us-east:order-123", 4, 0},
		{withDefault, "order-123", 2, hashed},
		{odd, "far:1", 4, hashed},
		{odd, "negative:1", 4, hashed},
		{odd, "last:1", 4, 3},
		{odd, "last:1", 3, hashed},
		{odd, ":1", 4, hashed}, // a leading ':' is the region default, not ""
		{nil, "us-east:1", 4, hashed},
	} {
		want := tt.want
		if want == hashed {
			want = kafka.HashKey.Partition("t", []byte(tt.key), nil, tt.partitions)
		}
		if got := kafka.ByRegion(tt.regions).Partition("t", []byte(tt.key), nil, tt.partitions); got != want {
			t.Errorf("%v: key %q among %d goes to %d, want %d", tt.regions, tt.key, tt.partitions, got, want)
		}
	}
	if got := kafka.ByRegion(withDefault).Partition("t", nil, nil, 4); got != pipeline.AnyPartition {
		t.Errorf("a null key goes to %d, want any", got)
	}
	if got := kafka.HashKey.Partition("t", nil, nil, 4); got != pipeline.AnyPartition {
		t.Errorf("HashKey: a null key goes to %d, want any", got)
	}
}

// The map is the caller's to change afterwards.
func TestByRegionKeepsItsMap(t *testing.T) {
	regions := map[string]int32{"a": 1}
	p := kafka.ByRegion(regions)
	regions["a"] = 2
	if got := p.Partition("t", []byte("a:1"), nil, 4); got != 1 {
		t.Errorf("the partition is %d after the caller's map has changed, want 1", got)
	}
}

// A partitioner of the user's that names a partition which does not exist is the
// record's error.
func TestAPartitionThatDoesNotExist(t *testing.T) {
	t.Parallel()
	c := start(t, embedded.Config{Topics: []embedded.Topic{topic("in", 1), topic("out", 2), topic("dlq", 1)}})
	c.Produce(numbered("in", 0, 6)...)
	p := pipeline.New("copy", pipeline.DeadLetter("dlq"))
	wild := pipeline.PartitionerFunc(func(_ string, key, _ []byte, _ int32) int32 { return int32(key[1] - '0') })
	pipeline.To(pipeline.From(p, "in", serde.Bytes()), "out", serde.Bytes(), pipeline.PartitionBy(wild))
	noError(t, run(t, p, c.config()), "run")
	same(t, "out", values(c.ReadAll("out")), []string{"v0", "v1"})
	same(t, "dead letters", values(c.ReadAll("dlq")), []string{"v2", "v3", "v4", "v5"})
}
