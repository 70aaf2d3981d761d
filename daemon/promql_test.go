package daemon

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selector is a metric in an expression, and what it asks of labels.
type selector struct {
	metric string
	labels []string
}

// notMetrics are the words of PromQL that the package uses.
var notMetrics = []string{"min", "max", "sum", "by", "on", "and", "bool", "rate", "increase", "min_over_time", "time"}

// added are the labels that Prometheus adds to what it scrapes.
var added = []string{"instance", "job"}

var (
	quoted  = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	bracket = regexp.MustCompile(`\[[^\]]*\]`)
	word    = regexp.MustCompile(`([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?`)
	grouped = regexp.MustCompile(`\b(by|on)\s*\(([^)]*)\)`)
	matcher = regexp.MustCompile(`([a-zA-Z_]+)\s*(?:=~|!~|!=|=)`)
)

// selectors takes an expression apart. A label of a "by" or "on" is asked of every
// metric in it.
func selectors(expr string) (all []selector) {
	expr = bracket.ReplaceAllString(quoted.ReplaceAllString(expr, `""`), "")
	var everywhere []string
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[2], ",") {
			everywhere = append(everywhere, strings.TrimSpace(label))
		}
	}
	for _, m := range word.FindAllStringSubmatch(grouped.ReplaceAllString(expr, ""), -1) {
		if slices.Contains(notMetrics, m[1]) {
			continue
		}
		s := selector{metric: m[1], labels: slices.Clone(everywhere)}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			s.labels = append(s.labels, l[1])
		}
		all = append(all, s)
	}
	return all
}

func TestSelectorsOfAnExpressionAreFound(t *testing.T) {
	got := selectors(`sum by (a, instance) (rate(x_total{b="c{d}", e=~"$f"}[5m])) > bool 0.8 and on(g) y`)
	want := []selector{{"x_total", []string{"a", "instance", "g", "b", "e"}}, {"y", []string{"a", "instance", "g"}}}
	if len(got) != 2 || got[0].metric != "x_total" || !slices.Equal(got[0].labels, want[0].labels) || got[1].metric != "y" || !slices.Equal(got[1].labels, want[1].labels) {
		t.Errorf("got %q", got)
	}
}

// expressions are those of the dashboard and of the alerts, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	text, err := os.ReadFile("../packaging/grafana/tidegate.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = target.Expr
			for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				all["legend "+p.Title+" "+target.RefID+" "+l[1]] = "sum by (" + l[1] + ") (" + target.Expr + ")"
			}
		}
	}
	rules, err := os.ReadFile("../packaging/prometheus/tidegate-alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)alert: (\S+)\n\s+expr: (.*)$`).FindAllStringSubmatch(string(rules), -1) {
		all["alert "+m[1]] = m[2]
	}
	if len(all) < 30 {
		t.Fatalf("only %d expressions were found", len(all))
	}
	return all
}

// comparePromQL looks for every metric and label of the package in what a daemon
// exposes.
func comparePromQL(t *testing.T, e exposition) {
	t.Helper()
	all := expressions(t)
	for _, where := range slices.Sorted(maps.Keys(all)) {
		found := selectors(all[where])
		if len(found) == 0 {
			t.Errorf("%s asks for no metric: %s", where, all[where])
		}
		for _, s := range found {
			labels, ok := e.labels[s.metric]
			if !ok {
				t.Errorf("%s asks for %s, which is not exposed", where, s.metric)
			}
			for _, l := range s.labels {
				if !slices.Contains(labels, l) && !slices.Contains(added, l) {
					t.Errorf("%s asks for label %s of %s, which has %q", where, l, s.metric, labels)
				}
			}
		}
	}
}

// TestAlertsDoWhatTheySay runs their own tests.
func TestAlertsDoWhatTheySay(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool; apt-get install prometheus")
	}
	for _, args := range [][]string{{"check", "rules", "tidegate-alerts.yml"}, {"test", "rules", "tidegate-alerts-test.yml"}} {
		check := exec.Command(promtool, args...)
		check.Dir = filepath.Join("..", "packaging", "prometheus")
		if said, err := check.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, said)
		}
	}
}
