package instruments_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v2"

	"github.com/leat-stream/leat/internal/instruments"
)

func document(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "observability", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// row is an instrument's in the table of the README.
func row(i *instruments.Instrument) string {
	labels := ""
	for _, l := range i.Labels {
		labels += "`" + l + "` "
	}
	return fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |", i.Prometheus(), i.Name, i.Type(), strings.TrimSpace(labels), i.Help)
}

// The README has every metric as it is, and none more.
func TestEveryMetricIsDocumented(t *testing.T) {
	rows := map[string]bool{}
	for line := range strings.Lines(string(document(t, "README.md"))) {
		if strings.HasPrefix(line, "| `leat_") {
			rows[strings.TrimSpace(line)] = true
		}
	}
	for _, i := range instruments.All {
		if !rows[row(i)] {
			t.Errorf("the README lacks\n%s", row(i))
		}
		delete(rows, row(i))
	}
	for r := range rows {
		t.Errorf("nobody exports\n%s", r)
	}
}

// Alert rules read what is exported, by labels that it has, and the README says what each
// means.
func TestAlerts(t *testing.T) {
	var file struct {
		Groups []struct {
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(document(t, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	readme := string(document(t, "README.md"))
	n := 0
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			n++
			metrics, err := check(r.Expr)
			if err != nil {
				t.Errorf("%s: %v", r.Alert, err)
				continue
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s has no severity, or no summary", r.Alert)
			}
			for _, l := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(r.Annotations["summary"], -1) {
				if by := grouped(r.Expr); l[1] != "pipeline" && len(by) > 0 && !strings.Contains(by, l[1]) {
					t.Errorf("%s: the summary has the label %s, the expression has not", r.Alert, l[1])
				}
			}
			if !strings.Contains(readme, "| `"+r.Alert+"` |") {
				t.Errorf("the README says nothing of %s, which reads %s", r.Alert, metrics)
			}
		}
	}
	if n < 10 {
		t.Errorf("%d alerts", n)
	}
}

func grouped(expr string) string {
	return strings.Join(regexp.MustCompile(`by \(([^)]*)\)`).FindAllString(expr, -1), " ")
}

// Every panel of the dashboard reads what is exported, its legend has labels that are
// there, and every metric is shown somewhere.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			Title, Type string
			Targets     []struct {
				Expr         string
				LegendFormat string
			}
		}
		Templating struct {
			List []struct{ Name, Type, Definition string }
		}
	}
	if err := json.Unmarshal(document(t, "grafana-dashboard.json"), &board); err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, p := range board.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("%s shows nothing", p.Title)
		}
		for _, x := range p.Targets {
			metrics, err := check(x.Expr)
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
				continue
			}
			if !strings.Contains(x.Expr, `{pipeline=~"$pipeline"`) {
				t.Errorf("%s does not heed the variable: %s", p.Title, x.Expr)
			}
			for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(x.LegendFormat, -1) {
				if !strings.Contains(grouped(x.Expr), l[1]) {
					t.Errorf("%s: the legend has the label %s, the expression has not", p.Title, l[1])
				}
			}
			for _, m := range metrics {
				shown[m] = true
			}
		}
	}
	for _, i := range instruments.All {
		name := i.Prometheus()
		if !shown[name] && !shown[name+"_bucket"] && !shown[name+"_sum"] {
			t.Errorf("no panel shows %s", name)
		}
	}
	variables := ""
	for _, v := range board.Templating.List {
		variables += fmt.Sprintf("%s %s %s; ", v.Name, v.Type, v.Definition)
	}
	if variables != "datasource datasource ; pipeline query label_values(leat_runs, pipeline); " {
		t.Errorf("variables: %s", variables)
	}
}
