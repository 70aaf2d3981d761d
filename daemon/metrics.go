package daemon

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/cardlife"
	"github.com/tidegate/tidegate/internal/promtext"
	"github.com/tidegate/tidegate/wire"
)

// docs/reference/metrics.md lists every metric; a test compares it with this file
// and its neighbours.

// metrics is a page of metrics that is being filled.
type metrics struct {
	*promtext.Page
	growth *growth
}

// grows adds a counter.
func (m *metrics) grows(name, help string, n uint64, labels ...string) {
	m.Counter(name, help, m.growth.up(name+"\xff"+strings.Join(labels, "\xff"), float64(n)), labels...)
}

// is adds a gauge.
func (m *metrics) is(name, help string, value float64, labels ...string) {
	m.Gauge(name, help, value, labels...)
}

// holds adds a gauge that is 1 or 0.
func (m *metrics) holds(name, help string, is bool, labels ...string) {
	value := 0.0
	if is {
		value = 1
	}
	m.Gauge(name, help, value, labels...)
}

// at adds a time, given in Unix milliseconds; none for never.
func (m *metrics) at(name, help string, ms int64, labels ...string) {
	if m.Announce(name, help); ms != 0 {
		m.Gauge(name, help, float64(ms)/1000, labels...)
	}
}

// growth keeps counters from going backwards when something that counts is replaced
// by what begins at zero: another configuration makes doors and links anew. It goes
// on from what was told last, so that what came between that and the change is not
// counted, and nothing is counted twice.
type growth struct {
	mu   sync.Mutex
	seen map[string]grown
}

type grown struct{ lost, last float64 }

func (t *growth) up(key string, value float64) float64 {
	g := t.seen[key]
	if value < g.last {
		g.lost += g.last - value
	}
	g.last = value
	t.seen[key] = g
	return g.lost + value
}

// metrics is what "GET /metrics" answers.
func (d *Daemon) metrics() *promtext.Page {
	d.growth.mu.Lock() // so that of two who ask, the later gets the later counts
	defer d.growth.mu.Unlock()
	m := &metrics{Page: promtext.New(), growth: &d.growth}
	s, now := d.status(), d.current()
	m.gateway(s)
	m.buffer(s.Buffer, s.Now)
	for _, l := range now.links {
		if at := slices.IndexFunc(s.Links, func(o dashboard.Link) bool { return o.Name == l.name }); at >= 0 {
			m.uplink(s.Links[at], s.Now)
			m.is("tidegate_uplink_waiting_bytes", "What these readings take on flash.", float64(l.cursor.Lag().Bytes), "sink", l.name)
		}
	}
	for _, n := range s.Network {
		m.network(n)
	}
	for _, door := range now.doors {
		if at := slices.IndexFunc(s.Doors, func(o dashboard.Door) bool { return o.Name == door.name }); at >= 0 {
			m.door(s.Doors[at])
			m.at("tidegate_ingest_last_reading_timestamp_seconds", "When readings came last, within five seconds.", d.lull.last(door.name), "source", door.name)
		}
	}
	heard := d.hub.Presence()
	if s.Itself != nil && heard.Heard > 0 {
		heard.Heard-- // the gateway is shown among its devices, and is none
	}
	m.presence(heard)
	m.life(cardlife.Used(now.cfg.Gateway.DataDir))
	m.refined(s.Refined)
	m.commands(s.Commands)
	m.access(s.Access)
	m.certificates(s.Certificates)
	m.process()
	return m.Page
}

// serveMetrics answers Prometheus in the format that it asks for.
func (d *Daemon) serveMetrics(w http.ResponseWriter, r *http.Request) {
	page := d.metrics()
	w.Header().Set("Cache-Control", "no-store")
	if strings.Contains(r.Header.Get("Accept"), "application/openmetrics-text") {
		w.Header().Set("Content-Type", promtext.OpenMetricsType)
		_, _ = w.Write(page.OpenMetrics(nil)) // whoever asked went away
		return
	}
	w.Header().Set("Content-Type", promtext.TextType)
	_, _ = w.Write(page.Text(nil)) // as above
}

// lull notes when readings came last through each door.
type lull struct {
	mu   sync.Mutex
	seen map[string]heard
}

type heard struct {
	readings uint64
	at       int64 // Unix milliseconds
}

func (l *lull) note(door string, readings uint64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if readings > 0 && l.seen[door].readings != readings {
		l.seen[door] = heard{readings, now.UnixMilli()}
	}
}

func (l *lull) last(door string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[door].at
}

func (m *metrics) life(used float64) {
	const name, help = "tidegate_flash_life_used_ratio", "How much of its life the medium says to have used, in tenths; more than 1 when all of it is."
	if m.Announce(name, help); used > 0 {
		m.is(name, help, used)
	}
}

func (m *metrics) presence(p dashboard.Presence) {
	m.is("tidegate_devices", "Devices on the live page, by whether they keep their own rhythm.", float64(p.Heard), "state", "heard")
	m.is("tidegate_devices", "", float64(p.Quiet), "state", "quiet")
}

// gateway tells of the gateway as a whole.
func (m *metrics) gateway(s dashboard.Status) {
	m.is("tidegate_build_info", "1; which gateway this is, and of what.", 1, "gateway", s.Gateway, "version", s.Version, "go", s.Host.Go, "system", s.Host.System, "kernel", s.Host.Kernel)
	m.at("process_start_time_seconds", "When the program was started.", s.Started)
	m.at("tidegate_boot_time_seconds", "When the machine was.", s.Host.Booted)
	m.at("tidegate_time_seconds", "The gateway's clock.", s.Now)
	m.holds("tidegate_clock_synced", "Whether the clock is synchronised.", s.Clock == wire.Synced.String())
	m.at("tidegate_clock_state_timestamp_seconds", "When that changed.", s.ClockSince)
	var set dashboard.ClockSet
	if s.ClockSet != nil {
		set = *s.ClockSet
	}
	m.grows("tidegate_clock_set_total", "How often the clock was set.", uint64(set.Times))
	m.at("tidegate_clock_set_timestamp_seconds", "When it was set last.", set.Last)
	m.is("tidegate_clock_set_step_seconds", "By how much then; less than 0 is back.", set.Seconds)
	m.is("tidegate_problems", "Sentences under \"needs attention\" on the live page.", float64(len(s.Problems)))
	ends := int64(0)
	if s.Trial != nil {
		ends = s.Trial.Ends
	}
	m.at("tidegate_trial_ends_timestamp_seconds", "When a configuration that is on trial is taken back, unless somebody confirms it.", ends)
}
