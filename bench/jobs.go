//go:build unix

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// worker is a program that does the job. All take the same flags, behind the program's own.
type worker struct {
	name  string
	path  string
	args  []string
	shown string // how the report names program and args
	batch bool   // takes -batch-size
}

// job is what is measured.
type job struct {
	title   string
	usual   []string                         // peers if none are named
	workers func(p programs) []worker        // leat first, then all that it can be compared with
	flags   func(r route, b *bench) []string // behind those of the worker
	load    float64                          // share of what can be written at most, 0 for all of it
}

// programs are where the workers are, from the flags; empty where not given.
type programs struct {
	leat, sarama, franz string
	classPath           string // of the Java peers
}

// route is what one run reads and writes.
type route struct{ from, to, group string }

var jobs = map[string]job{
	"copy": {
		title: "leat copy and hand-written workers, exactly once",
		usual: []string{"sarama"},
		workers: func(p programs) []worker {
			return []worker{
				{name: "leat", path: p.leat, args: []string{"copy", "-until-end"}, shown: "leat copy -until-end"},
				{name: "sarama", path: p.sarama, args: []string{"copy"}, shown: "sarama-peer copy"},
				{name: "franz", path: p.franz, args: []string{"copy"}, shown: "franz-peer copy", batch: true},
				p.java("streams", "Copy"),
			}
		},
		flags: func(r route, b *bench) []string {
			args := []string{"-from", r.from, "-to", r.to, "-group", r.group}
			if b.interval > 0 {
				args = append(args, "-commit-interval", b.interval.String())
			}
			return args
		},
	},
	"produce": {
		title: "leat perf produce and hand-written producers",
		usual: []string{"franz", "sarama"},
		workers: func(p programs) []worker {
			return []worker{
				{name: "leat", path: p.leat, args: []string{"perf", "produce"}, shown: "leat perf produce", batch: true},
				{name: "sarama", path: p.sarama, args: []string{"produce"}, shown: "sarama-peer produce"},
				{name: "franz", path: p.franz, args: []string{"produce"}, shown: "franz-peer produce", batch: true},
				p.java("java", "Produce"),
			}
		},
		flags: func(r route, b *bench) []string {
			return []string{"-topic", r.to, "-records", fmt.Sprint(b.n)}
		},
	},
	"steady": {
		title: "linger that adapts and fixed ones, under a full load",
		usual: []string{"none", "2ms", "5ms", "10ms", "20ms"},
		workers: func(p programs) []worker {
			return []worker{p.adaptive(), p.linger("none", 0), p.linger("2ms", 2), p.linger("5ms", 5), p.linger("10ms", 10), p.linger("20ms", 20)}
		},
		flags: func(r route, b *bench) []string {
			return []string{"-topic", r.to, "-records", fmt.Sprint(b.n)}
		},
	},
	"bursts": {
		title: "linger that adapts and none, under bursts that are a fifth of what can be written",
		usual: []string{"none"},
		workers: func(p programs) []worker {
			return []worker{p.adaptive(), p.linger("none", 0), p.linger("5ms", 5), p.linger("20ms", 20)}
		},
		flags: func(r route, b *bench) []string {
			return []string{"-topic", r.to, "-records", fmt.Sprint(b.n), "-throughput", fmt.Sprint(b.throughput), "-burst", fmt.Sprint(b.burst)}
		},
		load: 0.2,
	},
}

// adaptive and linger are leat perf produce, told how long batches wait.
func (p programs) adaptive() worker {
	return p.lingering("leat", "-linger", "0s", "-linger-max", "20ms")
}

func (p programs) linger(name string, ms int) worker {
	return p.lingering(name, "-linger", fmt.Sprintf("%dms", ms))
}

func (p programs) lingering(name string, flags ...string) worker {
	args := append([]string{"perf", "produce"}, flags...)
	return worker{name: name, path: p.leat, args: args, shown: "leat " + strings.Join(args, " "), batch: true}
}

// lingers reports whether the job is about linger.
func (j job) lingers() bool { return slices.Contains(j.usual, "none") }

// java is a peer in Java, whose main class is given. The heap is bounded: left alone, the JVM takes
// a quarter of the machine's memory before it collects.
func (p programs) java(name, class string) worker {
	w := worker{name: name, shown: "java -Xmx1g " + class, batch: true}
	if p.classPath != "" {
		w.path = "java"
		w.args = []string{"-Xmx1g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", p.classPath, class}
	}
	return w
}

// choose returns leat and the peers that were asked for, in that order.
func (j job) choose(p programs, peers, also string) ([]worker, error) {
	names := func(list string) []string {
		return strings.FieldsFunc(list, func(r rune) bool { return r == ',' })
	}
	wanted := j.usual
	if peers != "" {
		wanted = names(peers)
	}
	wanted = append(slices.Clone(wanted), names(also)...)
	all := j.workers(p)
	chosen := all[:1:1]
	var errs []error
	for i, name := range wanted {
		at := slices.IndexFunc(all[1:], func(w worker) bool { return w.name == name })
		switch {
		case at < 0:
			errs = append(errs, fmt.Errorf("no peer %q for this job", name))
		case !slices.Contains(wanted[:i], name):
			chosen = append(chosen, all[1+at])
		}
	}
	return chosen, errors.Join(errs...)
}

// arguments are those of a worker.
func (b *bench) arguments(w worker, r route) []string {
	return append(slices.Clone(w.args), b.flags(w, r)...)
}

func (b *bench) flags(w worker, r route) []string {
	args := append([]string{"-brokers", b.addresses()}, jobs[b.job].flags(r, b)...)
	if w.batch && b.batchSize > 0 {
		args = append(args, "-batch-size", fmt.Sprint(b.batchSize))
	}
	return args
}

// commands are what the report shows for each worker, without names that change from run to run.
func (b *bench) commands() []string {
	var all []string
	for _, w := range b.workers {
		all = append(all, w.shown+" "+strings.Join(b.flags(w, route{"IN", "OUT", "GROUP"}), " "))
	}
	return all
}
