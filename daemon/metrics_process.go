package daemon

import (
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// refined tells of readings that went through a [[refine]].
func (m *metrics) refined(r *dashboard.Refined) {
	if r == nil {
		return
	}
	for _, c := range []struct {
		result string
		n      uint64
	}{
		{"kept", r.Kept}, {"unchanged", r.Unchanged}, {"too_soon", r.TooSoon}, {"out_of_range", r.OutOfRange}, {"dropped", r.Dropped},
		{"clamped", r.Clamped}, {"marked_bad", r.MarkedBad}, {"late", r.Late}, {"untracked", r.Untracked},
	} {
		m.grows("tidegate_refine_readings_total", "Readings that were refined, by what came of them.", c.n, "result", c.result)
	}
	m.grows("tidegate_refine_alarms_total", "Alarms.", r.Raised, "change", "raised")
	m.grows("tidegate_refine_alarms_total", "", r.Cleared, "change", "cleared")
	m.grows("tidegate_refine_clock_set_back_total", "How often the clock of a series was set back.", r.SetBack)
	m.is("tidegate_refine_series", "Series that are remembered.", float64(r.Series))
}

// commands tells of the way down.
func (m *metrics) commands(c *dashboard.Commands) {
	if c == nil {
		return
	}
	for _, k := range []struct {
		result string
		n      uint64
	}{
		{"accepted", c.Accepted}, {"delivered", c.Delivered}, {"refused", c.Refused}, {"expired", c.Expired}, {"duplicate", c.Duplicates},
	} {
		m.grows("tidegate_commands_total", "Commands from upstream, by what came of them.", k.n, "result", k.result)
	}
	m.grows("tidegate_commands_untold_total", "Answers that found nobody to take them.", c.Untold)
	m.is("tidegate_commands_remembered", "Ids of commands that are known.", float64(c.Remembered))
	m.at("tidegate_commands_last_timestamp_seconds", "When a command was decided on last.", c.LastAt)
	for _, k := range c.Couriers {
		m.holds("tidegate_courier_up", "Whether commands can come.", k.Up, "courier", k.Name, "kind", k.Kind)
		m.at("tidegate_courier_state_timestamp_seconds", "Since when that is so.", k.Since, "courier", k.Name)
	}
}

// access tells of who gets in.
func (m *metrics) access(a *dashboard.Gatehouse) {
	if a == nil {
		return
	}
	m.holds("tidegate_access_set_up", "Whether there is an operator.", a.SetUp)
	m.holds("tidegate_access_tls", "Whether the page is served over TLS.", a.TLS)
	m.is("tidegate_access_sessions", "Sessions that are valid.", float64(a.Sessions))
	m.is("tidegate_access_tokens", "Tokens that are valid.", float64(a.Tokens))
	for _, event := range slices.Sorted(maps.Keys(a.Events)) {
		m.grows("tidegate_access_events_total", "What is about security, by event.", a.Events[event], "event", event)
	}
}

// certificates tells between which times those are valid that the gateway shows.
func (m *metrics) certificates(all []dashboard.Certificate) {
	for _, c := range all {
		m.at("tidegate_certificate_not_before_timestamp_seconds", "From when a certificate is valid that the gateway shows.", c.NotBefore, "where", c.Where)
		m.at("tidegate_certificate_not_after_timestamp_seconds", "When it ends.", c.NotAfter, "where", c.Where)
	}
}

// process tells what the program takes of the machine, under the names that
// Prometheus' own clients use. What the system does not tell is left out.
func (m *metrics) process() {
	m.is("go_goroutines", "Goroutines.", float64(runtime.NumGoroutine()))
	if statm, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.ParseUint(fields[1], 10, 64)
			m.is("process_resident_memory_bytes", "Memory in use, the program's own text included.", float64(pages)*float64(os.Getpagesize()))
		}
	}
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		seconds := time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
		m.Counter("process_cpu_seconds_total", "Time on the processors.", m.growth.up("cpu", seconds))
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		m.is("process_open_fds", "File descriptors that are open.", float64(len(open)-1)) // less that of the folder
	}
	var most syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &most) == nil {
		m.is("process_max_fds", "File descriptors that may be.", float64(most.Cur))
	}
}

func decimal(n int) string { return strconv.Itoa(n) }
