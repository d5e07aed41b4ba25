package main

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/leat-stream/leat/pipeline"
	"github.com/leat-stream/leat/sinks/kafka"
)

func TestBadFlags(t *testing.T) {
	cluster := []string{"-brokers", "127.0.0.1:1", "-registry", "http://127.0.0.1:1"}
	with := func(more ...string) []string { return append(cluster[:4:4], more...) }
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-nonsense"}, "flag provided but not defined: -nonsense"},
		{[]string{"more"}, `unexpected argument "more"`},
		{[]string{"-n", "many"}, `invalid value "many" for flag -n`},
		{[]string{"-n", "-1"}, "-n and -rate must not be negative"},
		{[]string{"-rate", "-1"}, "-n and -rate must not be negative"},
		{[]string{"-http", "8080"}, "-http: address 8080: missing port"},
		{[]string{"-seed", "-1"}, `invalid value "-1" for flag -seed`},
		{[]string{"-delivery", "twice"}, `-delivery is exactly-once or at-least-once, not "twice"`},
		{[]string{"-commit-interval", "0"}, "-commit-interval must be positive"},
		{[]string{"-commit-interval", "100"}, "-commit-interval"},
		{[]string{"-brokers", "127.0.0.1:1"}, "-registry is required with -brokers"},
		{[]string{"-registry", "http://127.0.0.1:1"}, "-registry needs -brokers"},
		{[]string{"-brokers", "", "-registry", "http://127.0.0.1:1"}, "Brokers"},
		{[]string{"-brokers", "here", "-registry", "http://127.0.0.1:1"}, `"here" is not host:port`},
		{[]string{"-brokers", "127.0.0.1:1", "-registry", "127.0.0.1:1"}, "registry: URLs[0]"},
		{with("-delivery", "at-most-once"), "-delivery"},
	} {
		t.Run(strings.Join(test.args, " "), func(t *testing.T) {
			code, stdout, stderr := orders(t, test.args...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, test.want) || !oneLineOf(stderr) {
				t.Errorf("exit %d, stdout %q, stderr %q; want 2 and one line with %q", code, stdout, stderr, test.want)
			}
		})
	}
}

func oneLineOf(stderr string) bool {
	return strings.HasPrefix(stderr, "orders: ") && strings.Count(stderr, "\n") == 1 && strings.HasSuffix(stderr, "\n")
}

func TestHelp(t *testing.T) {
	code, _, stderr := orders(t, "-help")
	if code != 0 {
		t.Errorf("exit %d", code)
	}
	for _, name := range []string{"brokers", "registry", "group", "instance", "delivery", "commit-interval", "until-end", "create-topics", "n", "seed", "rate", "http"} {
		if !strings.Contains(stderr, "\n  -"+name) {
			t.Errorf("no flag -%s in\n%s", name, stderr)
		}
	}
}

func TestOptions(t *testing.T) {
	cluster := []string{"-brokers", "a:1,b:2", "-registry", "http://r"}
	brokers := []string{"a:1", "b:2"}
	for _, test := range []struct {
		args []string
		want options
	}{
		{nil, options{embedded: true, n: 100_000, seed: 1, cfg: kafka.Config{CommitInterval: 100 * time.Millisecond, UntilEnd: true}}},
		{[]string{"-n", "5", "-seed", "9"}, options{embedded: true, n: 5, seed: 9, cfg: kafka.Config{CommitInterval: 100 * time.Millisecond, UntilEnd: true}}},
		{[]string{"-http", ":0"}, options{embedded: true, n: 100_000, seed: 1, rate: 500, http: ":0", cfg: kafka.Config{CommitInterval: 100 * time.Millisecond}}},
		{[]string{"-http", ":0", "-until-end"}, options{embedded: true, n: 100_000, seed: 1, http: ":0", cfg: kafka.Config{CommitInterval: 100 * time.Millisecond, UntilEnd: true}}},
		{append(cluster[:4:4], "-http", ":0", "-rate", "9"), options{registry: "http://r", seed: 1, rate: 9, http: ":0", cfg: kafka.Config{Brokers: brokers, CommitInterval: 100 * time.Millisecond}}},
		{cluster, options{registry: "http://r", seed: 1, cfg: kafka.Config{Brokers: brokers, CommitInterval: 100 * time.Millisecond}}},
		{
			append(cluster[:4:4], "-n", "7", "-create-topics", "-group", "g", "-instance", "i", "-delivery", "at-least-once", "-commit-interval", "1s", "-until-end"),
			options{registry: "http://r", n: 7, seed: 1, createTopics: true, cfg: kafka.Config{
				Brokers: brokers, Group: "g", Instance: "i", LeaveGroup: true, Delivery: pipeline.AtLeastOnce, CommitInterval: time.Second, UntilEnd: true,
			}},
		},
		{append(cluster[:4:4], "-instance", "i"), options{registry: "http://r", seed: 1, cfg: kafka.Config{Brokers: brokers, Instance: "i", CommitInterval: 100 * time.Millisecond}}},
	} {
		var stderr output
		got, err := parseOptions(test.args, &stderr)
		if err != nil {
			t.Errorf("%v: %v, %s", test.args, err, stderr.String())
			continue
		}
		if !reflect.DeepEqual(*got, test.want) {
			t.Errorf("%v:\n got %+v\nwant %+v", test.args, *got, test.want)
		}
	}
}
