package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/leat-stream/leat/sinks/kafka"
)

// need is a request that the program will send, and the version without which it does
// not work.
type need struct {
	key, version int16
	name, kafka  string
}

const apiProduce = 0

func (e *exam) needs() []need {
	out := []need{{apiProduce, 8, "Produce", "2.4"}}
	if e.producer.Idempotence == kafka.IdempotenceOn { // an epoch can be raised: KIP-360
		out = append(out, need{22, 3, "InitProducerId", "2.5"})
	}
	if e.Config.Group != "" { // positions of open transactions are not read past: KIP-447
		out = append(out, need{9, 7, "OffsetFetch", "2.5"})
	}
	if e.Config.Group != "" && e.transactional() { // with the member's generation: KIP-447
		out = append(out, need{28, 3, "TxnOffsetCommit", "2.5"})
	}
	return out
}

// versions compares what the brokers can do with what the program needs.
func (e *exam) versions() {
	var guesses []string
	for _, n := range e.nodes {
		guess := release(n.versions)
		guesses = append(guesses, guess)
		var lacks []string
		for _, need := range e.needs() {
			if most, known := n.versions[need.key]; !known || most < need.version {
				lacks = append(lacks, fmt.Sprintf("%s %d (Kafka %s)", need.name, need.version, need.kafka))
			}
		}
		if len(lacks) > 0 {
			e.find(CheckVersions, n.addr, Fault, "upgrade the broker to Kafka 2.5 or later", "Kafka %s does not take the requests that are needed: %s", guess, strings.Join(lacks, ", "))
		} else {
			e.ok(CheckVersions, n.addr, "Kafka %s", guess)
		}
	}
	if distinct := slices.Compact(slices.Sorted(slices.Values(guesses))); len(distinct) > 1 {
		e.find(CheckVersions, "", Warning, "end the rolling upgrade first", "the brokers are of several versions: %s", strings.Join(distinct, ", "))
	}
}

// clients are the requests that clients send, by API key: 0 to 3, 8 to 16, 18, 22 and 24
// to 26.
var clients = []int16{0, 1, 2, 3, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 22, 24, 25, 26}

// release guesses Kafka's release from the requests that a broker takes, since brokers
// do not tell it. Of one that is not Kafka's own, or is behind a proxy, it is the newest
// whose clients' requests it takes.
func release(versions map[int16]int16) string {
	var v kversion.Versions
	for key, most := range versions {
		v.SetMaxKeyVersion(key, most)
	}
	if guess := v.VersionGuess(); !strings.Contains(guess, " ") {
		return strings.TrimPrefix(guess, "v")
	}
	for _, name := range kversion.VersionStrings() { // the newest first
		theirs := kversion.FromString(name)
		if !slices.ContainsFunc(clients, func(key int16) bool {
			most, has := theirs.LookupMaxKeyVersion(key)
			ours, known := versions[key]
			return has && (!known || ours < most)
		}) {
			return strings.TrimPrefix(name, "v")
		}
	}
	return "of an unknown release"
}
