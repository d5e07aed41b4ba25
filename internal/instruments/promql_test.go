package instruments_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/leat-stream/leat/internal/instruments"
)

// reading is what a PromQL expression reads: metrics with the labels by which they are
// selected, and those by which all of it is grouped.
type reading struct {
	metrics map[string][]string
	groups  []string
}

var (
	token      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[a-zA-Z_][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z.]*|[(){}\[\],]|[^\s]`)
	identifier = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_:]*$`)
	variable   = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1h", "$pipeline", ".*")
)

// read goes over an expression. It knows what the ones here need, and refuses words that it
// does not know.
func read(expr string) (reading, error) {
	r := reading{metrics: map[string][]string{}}
	words := token.FindAllString(variable.Replace(expr), -1)
	next := func(i int) string {
		if i+1 < len(words) {
			return words[i+1]
		}
		return ""
	}
	metric := ""
	for i := 0; i < len(words); i++ {
		switch w := words[i]; {
		case w == "{": // name op "value", …
			for i++; i < len(words) && words[i] != "}"; i++ {
				if identifier.MatchString(words[i]) {
					if metric == "" {
						return r, fmt.Errorf("%s is selected of no metric", words[i])
					}
					r.metrics[metric] = append(r.metrics[metric], words[i])
				}
			}
		case slices.Contains([]string{"by", "without", "on", "ignoring"}, w):
			if i++; i >= len(words) || words[i] != "(" {
				return r, fmt.Errorf("no list after %s", w)
			}
			for i++; i < len(words) && words[i] != ")"; i++ {
				if words[i] != "," {
					r.groups = append(r.groups, words[i])
				}
			}
		case slices.Contains([]string{"and", "or", "unless"}, w):
		case slices.Contains([]string{"sum", "max", "min"}, w) && slices.Contains([]string{"(", "by"}, next(i)):
		case slices.Contains([]string{"rate", "increase", "deriv", "histogram_quantile"}, w) && next(i) == "(":
		case identifier.MatchString(w):
			metric = w
			if r.metrics[w] == nil {
				r.metrics[w] = []string{}
			}
			if next(i) == "(" {
				return r, fmt.Errorf("%s is no function that is known here", w)
			}
		}
	}
	if len(r.metrics) == 0 {
		return r, fmt.Errorf("no metric in %q", expr)
	}
	return r, nil
}

// exported are the series' names with their labels.
func exported() map[string][]string {
	all := map[string][]string{}
	for _, i := range instruments.All {
		labels := slices.Concat([]string{instruments.Pipeline, "instance", "job"}, i.Labels)
		if i.Kind != instruments.Histogram {
			all[i.Prometheus()] = labels
			continue
		}
		all[i.Prometheus()+"_sum"], all[i.Prometheus()+"_count"] = labels, labels
		all[i.Prometheus()+"_bucket"] = slices.Concat(labels, []string{"le"})
	}
	return all
}

// check says what is wrong with an expression.
func check(expr string) (metrics []string, err error) {
	r, err := read(expr)
	if err != nil {
		return nil, err
	}
	known := exported()
	for m, labels := range r.metrics {
		has, ok := known[m]
		if !ok {
			return nil, fmt.Errorf("nobody exports %s", m)
		}
		for _, l := range slices.Concat(labels, r.groups) {
			if !slices.Contains(has, l) {
				return nil, fmt.Errorf("%s has no label %s", m, l)
			}
		}
	}
	return slices.Sorted(maps.Keys(r.metrics)), nil
}

// The check finds what it is there for.
func TestCheckOfExpressions(t *testing.T) {
	for expr, want := range map[string]string{
		`sum by (pipeline) (rate(leat_commits_total{pipeline=~"$pipeline"}[5m])) > 0.5`:                           "",
		`histogram_quantile(0.99, sum by (le) (rate(leat_record_duration_seconds_bucket[$__rate_interval])))`:     "",
		`leat_runs{phase!="not leat_none{x=\"1\"}"} unless on (pipeline) max by (pipeline) (leat_sessions_total)`: "",
		`sum(leat_commit_total)`:                                   "nobody exports leat_commit_total",
		`leat_record_duration_seconds`:                             "nobody exports",
		`leat_commits_total{partition="1"}`:                        "has no label partition",
		`sum by (stage) (leat_commits_total)`:                      "has no label stage",
		`leat_runs and on (topic) leat_consumer_lag`:               "leat_runs has no label topic",
		`sum by (le) (leat_record_duration_seconds_count)`:         "has no label le",
		`rates(leat_commits_total[5m])`:                            "rates",
		`1 + 1`:                                                    "no metric",
		`sum by pipeline (leat_commits_total)`:                     "no list",
		`{pipeline="p"}`:                                           "of no metric",
		`sum by (pipeline) (leat_commits_total) / up{job="leat"}`:  "nobody exports up",
		`deriv(sum by (pipeline) (leat_consumer_lag)[15m:1m]) > 0`: "",
	} {
		_, err := check(expr)
		if got := fmt.Sprint(err); (err != nil) != (want != "") || want != "" && !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q", expr, got, want)
		}
	}
}
