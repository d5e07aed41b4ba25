//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leat-stream/leat/bench/internal/meter"
	"github.com/leat-stream/leat/bench/internal/record"
	"github.com/leat-stream/leat/embedded"
)

// TestMain lets the test's own program stand in for the benchmark's where that starts itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && subcommands[os.Args[1]] != nil {
		if err := dispatch(context.Background(), os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// All of it, against an embedded Kafka: every worker does both jobs, and the report holds every run.
func TestMeasure(t *testing.T) {
	cluster, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	dir := t.TempDir()
	build(t, "..", "./cmd/leat", filepath.Join(dir, "leat"))
	build(t, ".", "./peers/sarama", filepath.Join(dir, "sarama-peer"))
	build(t, ".", "./peers/franz", filepath.Join(dir, "franz-peer"))
	for job, c := range map[string]struct {
		args []string
		want []string
		bars int
	}{
		"copy": {
			[]string{"-also", "franz", "-bar", "franz:cpu:0.000001"},
			[]string{"| leat / franz, CPU per record ≤ 0.00 | "},
			1,
		},
		"produce": {
			[]string{"-batch-size", "65536", "-bar", "sarama:rate:0.000001", "-bar", "leat:allocs:1000"},
			[]string{"| leat / sarama, records/s ≥ 0.00 | ", "| leat, allocations per record ≤ 1000.00 | ", "-batch-size 65536\n    franz-peer"},
			2,
		},
	} {
		t.Run(job, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out.jsonl")
			o, err := parse(append([]string{
				"-job", job, "-brokers", strings.Join(cluster.Brokers(), ","), "-pairs", "2", "-warmup", "1",
				"-n", "3000", "-patience", "0", "-limit", "1m", "-out", out,
				"-leat", filepath.Join(dir, "leat"), "-sarama", filepath.Join(dir, "sarama-peer"), "-franz", filepath.Join(dir, "franz-peer"),
			}, c.args...))
			if err != nil {
				t.Fatal(err)
			}
			var stdout, log strings.Builder
			if err := measure(t.Context(), o, os.Args[0], &stdout, &log); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			for _, want := range append(c.want,
				"| 1 | leat |", "| 1 | sarama |", "| 1 | franz |", "| 2 | leat |", "| 2 | sarama |", "| 2 | franz |",
				"| leat / sarama, records/s |", "| leat / sarama, CPU per record |", "| leat / franz, records/s |",
			) {
				if strings.Count(stdout.String(), want) != 1 {
					t.Errorf("the report does not have %q once:\n%s", want, stdout.String())
				}
			}
			kinds := stored(t, out, 3000)
			if kinds["machine"] != 1 || kinds["run"] != 9 || kinds["ratio"] != 2 || kinds["bar"] != c.bars {
				t.Errorf("stored %v", kinds)
			}
			left, err := listTopics(t, cluster.Brokers())
			if err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// stored counts the lines of each kind in a file of results, in which every run must be a whole one.
func stored(t *testing.T, file string, n int64) map[string]int {
	t.Helper()
	kinds := map[string]int{}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		var row struct {
			Kind    string  `json:"kind"`
			Records int64   `json:"records"`
			Seconds float64 `json:"seconds"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if row.Kind == "run" && (row.Records != n || row.Seconds <= 0) {
			t.Errorf("not a whole run: %s", line)
		}
		kinds[row.Kind]++
	}
	return kinds
}

// The peer is as careful as its comment says: what a refused commit held is copied again, once.
func TestSaramaPeerSurvivesAbort(t *testing.T) {
	cluster, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	a, err := newAdmin(cluster.Brokers())
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	const n = 3000
	brokers := strings.Join(cluster.Brokers(), ",")
	for _, topic := range []string{"in", "out"} {
		if err := a.createTopic(t.Context(), topic); err != nil {
			t.Fatal(err)
		}
	}
	if err := fillCommand(t.Context(), []string{"-brokers", brokers, "-topic", "in", "-n", fmt.Sprint(n)}); err != nil {
		t.Fatal(err)
	}
	refused := make(chan struct{})
	cluster.Fake().ControlKey(int16(kmsg.TxnOffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		asked := request.(*kmsg.TxnOffsetCommitRequest)
		answer := asked.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, topic := range asked.Topics {
			to := kmsg.NewTxnOffsetCommitResponseTopic()
			to.Topic = topic.Topic
			for _, p := range topic.Partitions {
				part := kmsg.NewTxnOffsetCommitResponseTopicPartition()
				part.Partition, part.ErrorCode = p.Partition, kerr.IllegalGeneration.Code
				to.Partitions = append(to.Partitions, part)
			}
			answer.Topics = append(answer.Topics, to)
		}
		close(refused) // kfake forgets a control once it has answered
		return answer, nil, true
	})
	peer := filepath.Join(t.TempDir(), "sarama-peer")
	build(t, ".", "./peers/sarama", peer)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	output, err := exec.CommandContext(ctx, peer, "copy", "-brokers", brokers, "-from", "in", "-to", "out", "-group", "g").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	select {
	case <-refused:
	default:
		t.Fatal("no commit was refused")
	}
	v, err := check(t.Context(), cluster.Brokers(), "out", n)
	if err != nil || !v.exact(n) {
		t.Errorf("%v, %v\n%s", v, err, output)
	}
	if r, err := meter.Parse(string(output)); err != nil || r.Records != n {
		t.Errorf("the peer reports %+v, %v", r, err)
	}
}

func build(t *testing.T, dir, what, to string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", to, what)
	cmd.Dir = dir
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", what, err, output)
	}
}

func listTopics(t *testing.T, brokers []string) ([]string, error) {
	t.Helper()
	a, err := newAdmin(brokers)
	if err != nil {
		return nil, err
	}
	defer a.close()
	topics, err := a.ListTopics(t.Context())
	if err != nil {
		return nil, err
	}
	return topics.Names(), nil
}

// A checker that cannot fail proves nothing.
func TestCheckFindsEveryFault(t *testing.T) {
	cluster, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	a, err := newAdmin(cluster.Brokers())
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	const n = 5
	all := []uint64{0, 1, 2, 3, 4}
	for name, c := range map[string]struct {
		ids    []uint64
		change func(i int, r *kgo.Record)
		want   verdict
	}{
		"exact":      {all, nil, verdict{Records: n}},
		"missing":    {[]uint64{0, 1, 3, 4}, nil, verdict{Records: 4, Missing: 1}},
		"nothing":    {nil, nil, verdict{Missing: n}},
		"duplicate":  {[]uint64{0, 1, 2, 3, 4, 4}, nil, verdict{Records: 6, Duplicates: 1}},
		"disordered": {[]uint64{0, 2, 1, 3, 4}, nil, verdict{Records: n, Disordered: 1}},
		"foreign":    {[]uint64{0, 1, 2, 3, 4, 5}, nil, verdict{Records: 6, Bad: 1}},
		"changed": {all, func(i int, r *kgo.Record) {
			if i == 2 {
				r.Value[150]++
			}
		}, verdict{Records: n, Bad: 1, Missing: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := a.createTopic(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Brokers()...), kgo.DefaultProduceTopic(name),
				kgo.TransactionalID(name), kgo.RecordPartitioner(kgo.ManualPartitioner()))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			// An aborted transaction first: what it wrote must not be seen.
			write(t, client, all, nil, kgo.TryAbort)
			write(t, client, c.ids, c.change, kgo.TryCommit)
			v, err := check(t.Context(), cluster.Brokers(), name, n)
			if err != nil {
				t.Fatal(err)
			}
			if v != c.want || v.exact(n) != (name == "exact") {
				t.Errorf("got %v, want %v", v, c.want)
			}
		})
	}
}

// write produces records to partition 0 in one transaction.
func write(t *testing.T, client *kgo.Client, ids []uint64, change func(int, *kgo.Record), end kgo.TransactionEndTry) {
	t.Helper()
	if err := client.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		key, value := record.Make(id)
		r := &kgo.Record{Key: key, Value: value}
		if change != nil {
			change(i, r)
		}
		if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.EndTransaction(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{nil, spread{}},
		{[]float64{2}, spread{2, 2, 2}},
		{[]float64{3, 1}, spread{1, 2, 3}},
		{[]float64{5, 1, 2}, spread{1, 2, 5}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("spread of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestEachPairBeginsWithAnother(t *testing.T) {
	workers := []worker{{name: "a"}, {name: "b"}, {name: "c"}}
	for pair, want := range map[int]string{-1: "bca", 0: "cab", 1: "abc", 2: "bca", 3: "cab", 4: "abc"} {
		got := ""
		for _, w := range turn(workers, pair) {
			got += w.name
		}
		if got != want {
			t.Errorf("pair %d has the order %s instead of %s", pair, got, want)
		}
	}
}

func TestReadingProc(t *testing.T) {
	stat := "cpu  100 20 300 4000 50 6 70 8 90 10\ncpu0 1 2 3 4\n"
	if got := machineSeconds([]byte(stat)); got != 5.04 {
		t.Errorf("machine: %v s", got)
	}
	process := "17 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0"
	if got := processSeconds([]byte(process)); got != 2 {
		t.Errorf("process: %v s", got)
	}
}

func TestAwaitQuietIsBounded(t *testing.T) {
	began := time.Now()
	// Less than nothing is never used: only the patience can end the wait.
	if _, quiet := awaitQuiet(t.Context(), -1, time.Millisecond); quiet {
		t.Error("quiet although never below the limit")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("waited %v", took)
	}
}

func TestParseReportsAllMistakes(t *testing.T) {
	_, err := parse([]string{"-pairs", "0", "-n", "0", "rest"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"-brokers", "leat is required", "sarama is required", "-pairs", "-n", `"rest"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	for _, args := range [][]string{{"-also", "other"}, {"-job", "produce", "-peers", "streams"}, {"-job", "other"}} {
		if _, err := parse(args); err == nil || !strings.Contains(err.Error(), args[len(args)-1]) {
			t.Errorf("%v: %v", args, err)
		}
	}
}
