package daemon

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// everythingElse is what a configuration may have beside doors; it wants the
// address of a cloud.
const everythingElse = `
[[link]]
name = "lte"
budget_day = "5MB"
budget_month = "50MB"
schedule = ["0 0 * * * for 23h", "0 23 * * * for 1h"]
[[refine]]
name = "temps"
metric = "temp*"
min = -1000
[command]
allow = ["dev/+/set"]
[[command.http]]
name = "orders"
url = "http://%s/v1/commands"
`

// scrape asks for the metrics as Prometheus does.
func (s *site) scrape() string {
	s.Helper()
	var text string
	s.get("http://"+s.dashboard+"/metrics", func(r *http.Response) error {
		if got := r.Header.Get("Content-Type"); got != "text/plain; version=0.0.4; charset=utf-8" {
			s.Errorf("Content-Type %q", got)
		}
		body, err := io.ReadAll(r.Body)
		text = string(body)
		return err
	})
	return text
}

func TestMetricsOfARunningDaemonAreDocumented(t *testing.T) {
	c := everyDoor(t)
	cert, key := writeCertificate(t, t.TempDir(), "north-7", time.Now().AddDate(1, 0, 0))
	c.more = fmt.Sprintf("links = [\"lte\"]\ntls_cert = %q\ntls_key = %q\n", cert, key) + c.more + strings.Replace(everythingElse, "%s", c.cloud, 1)
	c.configure("http://"+c.cloud+"/v1/ingest", "1s")
	c.startCloud()
	gateway := c.startGateway()
	fleet := c.startFleet(firmwaresim.FleetConfig{Devices: 4, Rate: 20, QoS: 1}, c.ledger)
	fleet.eventuallyAcked(20)
	c.eventuallyMore(10)

	first := readExposition(t, c.scrape())
	compareWithDocs(t, first)
	comparePromQL(t, first)
	checkWithPromtool(t, c.scrape())
	fleet.eventuallyAcked(20)
	grown := []string{
		`tidegate_ingest_readings_total{source="mqtt"}`, `tidegate_uplink_acked_total{sink="cloud"}`,
		`tidegate_link_bytes_total{dir="sent",link="lte"}`, `tidegate_flash_written_bytes_total{}`,
	}
	var second exposition
	c.eventually("these have grown: "+strings.Join(grown, ", "), func() bool { // not all at the same time
		second = readExposition(t, c.scrape())
		return !slices.ContainsFunc(grown, func(sample string) bool { return second.samples[sample] <= first.samples[sample] })
	})
	grew := 0
	for _, sample := range slices.Sorted(maps.Keys(first.samples)) {
		name, _, _ := strings.Cut(sample, "{")
		before, now := first.samples[sample], second.samples[sample]
		if first.kinds[name] == "counter" && now < before {
			t.Errorf("%s went from %v to %v", sample, before, now)
		}
		if first.kinds[name] == "counter" && now > before {
			grew++
		}
	}
	if grew < 15 {
		t.Errorf("only %d counters grew", grew)
	}
	watchWithPrometheus(c.site)

	fleet.stop()
	for _, stop := range c.stops {
		stop()
	}
	gateway.stop()
}

// checkWithPromtool has Prometheus' own linter look at the page.
func checkWithPromtool(t *testing.T, page string) {
	t.Helper()
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("no promtool; apt-get install prometheus")
		return
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(page)
	if said, err := check.CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, said)
	}
}
