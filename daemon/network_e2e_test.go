package daemon

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/uplink/carrier"
)

// sim is a link of the site: what passes over it is counted, wherever it leads.
func (s *site) sim(budget string) {
	s.more = `links = ["lte"]
[[link]]
name = "lte"
budget_month = "` + budget + `"
when_spent = "stop"
`
	s.configure("http://"+s.cloud+"/v1/ingest", "5s")
}

// networkIs is a condition on the one link of the status.
func networkIs(wanted func(dashboard.Carrier) bool) func(dashboard.Status) bool {
	return func(st dashboard.Status) bool { return len(st.Network) == 1 && wanted(st.Network[0]) }
}

// TestASpentBudgetHoldsReadingsBack: nothing passes over a link whose budget is
// spent, also after a kill -9, and nothing is lost by that.
func TestASpentBudgetHoldsReadingsBack(t *testing.T) {
	const budget = 60_000
	s := newSite(t)
	s.sim("60kB")
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	var spent dashboard.Carrier
	s.eventuallyStatus("the budget is spent", networkIs(func(n dashboard.Carrier) bool {
		spent = n
		return n.State == "its budget is spent" && n.Connections <= 1
	}))
	if len(spent.Lanes) != 0 || spent.Month.Used < budget || spent.Estimated {
		t.Errorf("spent: %+v", spent)
	}
	sensors.eventuallyAcked(200)
	var later dashboard.Carrier
	s.eventuallyStatus("readings are held back", func(st dashboard.Status) bool {
		if len(st.Network) == 1 {
			later = st.Network[0]
		}
		return linkIs(dashboard.LinkHeld)(st) && st.Links[0].Waiting > 0 && st.Links[0].InFlight == 0
	})
	// What was under way when the budget was spent still arrived.
	if over := later.Month.Used - budget; over > 200_000 {
		t.Errorf("%d bytes beyond a budget of %d", over, budget)
	} else {
		t.Logf("%d bytes beyond a budget of %d", over, budget)
	}

	sensors.eventuallyAcked(200) // time for a save that may be due
	gateway.kill()
	gateway = s.startGateway()
	s.eventuallyStatus("the budget is still spent", networkIs(func(n dashboard.Carrier) bool { return n.State == "its budget is spent" }))
	var text bytes.Buffer
	st, _ := s.status()
	if err := writeStatus(&text, st); err != nil || !strings.Contains(text.String(), "link lte: its budget is spent; readings wait until") {
		t.Errorf("%v in\n%s", err, &text)
	}
	n := st.Network[0]
	if known := n.Month.Used - n.Sent - n.Received; known < later.Month.Used-2*4096 {
		t.Errorf("%d bytes were known after kill -9, and %d before", known, later.Month.Used)
	}
	gateway.stop()

	s.sim("1GB")
	s.startGateway()
	sensors.stopAndAudit()
	s.eventuallyStatus("what it costs is known", networkIs(func(n dashboard.Carrier) bool {
		return n.State == dashboard.OK && n.Month.Used > later.Month.Used && n.Left < 1e9 && n.Renews > time.Now().UnixMilli()
	}))
}

// TestTheNetworkIsCountedWithoutAnyLink: uplinks that name no link go as the system
// routes, and what that costs is known across restarts.
func TestTheNetworkIsCountedWithoutAnyLink(t *testing.T) {
	s := newSite(t)
	s.startCloud()
	gateway := s.startGateway()
	sensors := s.startSensors()
	s.eventuallyForwards()
	sensors.stopAndAudit()
	var before dashboard.Carrier
	s.eventuallyStatus("it is counted", networkIs(func(n dashboard.Carrier) bool {
		before = n
		return n.Name == usual && n.Today.Sent > 1000 && n.Today.Received > 100 && n.Sent == n.Today.Sent
	}))
	gateway.stop()
	s.startGateway()
	s.eventuallyStatus("it is still known", networkIs(func(n dashboard.Carrier) bool {
		return n.Today.Sent >= before.Today.Sent && n.Sent < before.Sent && n.State == dashboard.OK
	}))
}

func TestCheckOfLinks(t *testing.T) {
	cfg := Default()
	cfg.Gateway.DataDir = t.TempDir()
	link := func(name string, change func(*Carrier)) {
		var c Carrier
		c.SetDefaults()
		c.Name = name
		change(&c)
		cfg.Link = append(cfg.Link, c)
	}
	link("port", func(c *Carrier) { c.Interface = "lo" })
	link("lte", func(c *Carrier) { c.Interface, c.BudgetMonth, c.BudgetDay = "wwan77", 50e6, 2e6 })
	link("wifi", func(c *Carrier) { c.Source, c.Schedule = "127.0.0.1", []string{"* * * * * for 1h"} })
	link("night", func(c *Carrier) { c.Schedule = []string{"0 0 29 2 * for 1m"} })
	link("spare", func(c *Carrier) {})
	var up HTTPUplink
	up.SetDefaults()
	up.Name, up.Links = "cloud", []string{"port", "lte", "wifi", "night"}
	cfg.Uplink.HTTP = []HTTPUplink{up}
	k := &checklist{}
	k.links(cfg, peekNetwork(cfg, slog.New(slog.DiscardHandler)), time.Now())
	var text strings.Builder
	if err := WriteFindings(&text, k.findings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"✓ link port: lo is up\n",
		"! link lte: there is no interface wwan77\n    hint: see \"ip -brief address\"",
		"✓ link lte: 0 B of 50.0 MB are used this month, until 1 ",
		"✓ link lte: 0 B of 2.0 MB are used today, until ",
		"✓ link wifi: 127.0.0.1 is an address of this machine\n",
		"✓ link wifi: its schedule is open until ",
		"✓ link night: its schedule opens 29 February ",
		"! link spare: no uplink uses it\n    hint: write links = [\"spare\"] in an uplink",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
}

func TestStatusOfLinks(t *testing.T) {
	now := time.Now()
	later := func(d time.Duration) int64 { return now.Add(d).UnixMilli() }
	s := dashboard.Status{
		Now:    now.UnixMilli(),
		Buffer: dashboard.Buffer{State: dashboard.OK},
		Links: []dashboard.Link{
			{Name: "cloud", State: dashboard.LinkUp, Over: dashboard.Over{Carrier: "lte", Since: later(-time.Hour), Passed: []string{"port: eth0 has no carrier"}, Needs: 12_300_000, Drained: later(72 * time.Hour)}},
			{Name: "archive", State: dashboard.LinkUp, Over: dashboard.Over{Carrier: "port", Since: later(-time.Hour), Needs: 500}},
		},
		Network: []dashboard.Carrier{
			{Name: "port", State: "eth0 has no carrier", Today: dashboard.Usage{Used: 1_234_567}, Month: dashboard.Usage{Used: 2_500_000_000}},
			{Name: "lte", State: dashboard.OK, Today: dashboard.Usage{Used: 999}, Month: dashboard.Usage{Used: 12_300_000, Budget: 50_000_000}, Left: 37_700_000, Renews: later(10 * 24 * time.Hour), Lasts: later(5 * 24 * time.Hour)},
		},
	}
	s.Problems = problems(s)
	var text bytes.Buffer
	if err := writeStatus(&text, s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"! link lte: 37.7 MB are left until ", ", and at this rate they last until ",
		"port     1.2 MB", "2.50 GB", "999 B", "12.3 MB of 50.0 MB",
		"cloud goes over lte since ", " (port: eth0 has no carrier)\n",
		"cloud: what waits takes about 12.3 MB, and is delivered by ",
		"archive: what waits takes about 500 B; when it is delivered cannot be said\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
}

func TestWaysThatArePassedOver(t *testing.T) {
	p := carrier.PathStats{Present: "sat", Legs: []carrier.LegStats{
		{Link: "port", Why: "eth0 has no carrier"}, {Link: "wifi", Usable: true}, {Link: "sat", Usable: true}, {Link: "never", Usable: true},
	}}
	if got := strings.Join(passedOver(p), "; "); got != "port: eth0 has no carrier; wifi: works again, and is watched for a while" {
		t.Error(got)
	}
}

// systemNetwork is the network of uplinks that name no link.
func systemNetwork() network {
	return peekNetwork(Config{Uplink: Uplink{HTTP: []HTTPUplink{{}}}}, slog.New(slog.DiscardHandler))
}
