package daemon

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// watchWithPrometheus has Prometheus itself scrape the gateway, with the alerts of
// the package, and evaluates every expression of the dashboard.
func watchWithPrometheus(s *site) {
	s.Helper()
	prometheus, err := exec.LookPath("prometheus")
	if err != nil {
		s.Log("no prometheus; apt-get install prometheus")
		return
	}
	rules, err := filepath.Abs("../packaging/prometheus/tidegate-alerts.yml")
	if err != nil {
		s.Fatal(err)
	}
	config := filepath.Join(s.dir, "prometheus.yml")
	text := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs: [{job_name: tidegate, static_configs: [{targets: [%q]}]}]\n", rules, s.dashboard)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
	address := porttest.For(s.T)
	p := s.start(prometheus, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(s.dir, "tsdb"), "--web.listen-address="+address)
	defer p.kill()
	s.eventually("prometheus answers", func() bool { return listens(address) })
	ask := func(path string, into any) error {
		resp, err := http.Get("http://" + address + "/api/v1/" + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		return json.NewDecoder(resp.Body).Decode(into)
	}
	var targets struct {
		Data struct {
			ActiveTargets []struct{ Health, LastError, LastScrape string }
		}
	}
	s.eventually("prometheus has scraped the gateway", func() bool {
		return ask("targets", &targets) == nil && len(targets.Data.ActiveTargets) == 1 && targets.Data.ActiveTargets[0].Health == "up"
	})
	all := expressions(s.T)
	for _, where := range slices.Sorted(maps.Keys(all)) {
		expr := strings.NewReplacer("$gateway", ".*", "$__rate_interval", "1m").Replace(all[where])
		var answer struct {
			Status, Error string
			Data          struct{ Result []json.RawMessage }
		}
		s.eventually(where+" has a value: "+expr, func() bool {
			if err := ask("query?query="+url.QueryEscape(expr), &answer); err != nil || answer.Status != "success" {
				s.Fatalf("%s: %v, %s: %s", where, err, answer.Error, expr)
			}
			// What shows only trouble may have none to show.
			return len(answer.Data.Result) > 0 || strings.Contains(expr, "> 0") || strings.HasPrefix(where, "alert ")
		})
	}
}
