//go:build unix

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestChoosingPeers(t *testing.T) {
	for _, c := range []struct{ job, peers, also, want string }{
		{"copy", "", "", "leat sarama"},
		{"copy", "", "franz,sarama", "leat sarama franz"},
		{"copy", "streams,franz", "", "leat streams franz"},
		{"produce", "", "", "leat franz sarama"},
		{"produce", "java", "franz", "leat java franz"},
	} {
		workers, err := jobs[c.job].choose(programs{}, c.peers, c.also)
		var names []string
		for _, w := range workers {
			names = append(names, w.name)
		}
		if got := strings.Join(names, " "); got != c.want || err != nil {
			t.Errorf("%+v chooses %s, %v", c, got, err)
		}
	}
}

// A batch size goes to all that can be told, and everything else is the same for all.
func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		batched []string
	}{
		"copy":    {[]string{"franz", "streams"}},
		"produce": {[]string{"leat", "franz", "java"}},
	} {
		workers, err := jobs[name].choose(programs{classPath: "jars"}, "", "sarama,franz")
		if err != nil {
			t.Fatal(err)
		}
		java := jobs[name].workers(programs{classPath: "jars"})[3]
		b := &bench{options: options{job: name, brokers: []string{"a:1", "b:2"}, n: 7, batchSize: 5}}
		common := "-brokers a:1,b:2 -from IN -to OUT -group G"
		if name == "produce" {
			common = "-brokers a:1,b:2 -topic OUT -records 7"
		}
		for _, w := range append(workers, java) {
			want := slices.Clone(w.args)
			want = append(want, strings.Fields(common)...)
			if slices.Contains(c.batched, w.name) {
				want = append(want, "-batch-size", "5")
			}
			if got := b.arguments(w, route{"IN", "OUT", "G"}); !slices.Equal(got, want) {
				t.Errorf("%s, %s: %q instead of %q", name, w.name, got, want)
			}
		}
	}
}
