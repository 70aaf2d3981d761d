package daemon

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate/tidegate/uplink/carrier"
)

// links looks at the ways to the network. One that is down is no failure: modems
// take their time, and cables come back.
func (k *checklist) links(c Config, n network, now time.Time) {
	for _, l := range c.Link {
		used := false
		for _, links := range c.linksOf() {
			used = used || slices.Contains(links, l.Name)
		}
		if !used {
			k.warn(fmt.Sprintf("write links = [%q] in an uplink, or remove the link", l.Name), "link %s: no uplink uses it", l.Name)
			continue
		}
		if k.offline {
			continue
		}
		s := n.links[l.Name].Stats()
		if s.Down != "" {
			k.warn(`see "ip -brief address" for what there is`, "link %s: %s", l.Name, s.Down)
		} else {
			k.ok("link %s: %s", l.Name, leaves(l))
		}
		k.budget(l, s)
		k.window(l, s, now)
	}
}

// leaves says how connections over a link leave the machine.
func leaves(l Carrier) string {
	switch {
	case l.Interface != "" && l.Source != "":
		return l.Interface + " is up, and " + l.Source + " is an address of this machine"
	case l.Interface != "":
		return l.Interface + " is up"
	case l.Source != "":
		return l.Source + " is an address of this machine"
	}
	return "the system's routing is used"
}

// budget says what is left of the budgets.
func (k *checklist) budget(l Carrier, s carrier.Stats) {
	for _, b := range []struct {
		what string
		carrier.Usage
	}{{"today", s.Today}, {"this month", s.Month}} {
		if b.Budget == 0 {
			continue
		}
		text := fmt.Sprintf("link %s: %s of %s are used %s", l.Name, megabytes(b.Used), megabytes(b.Budget), b.what)
		if !b.Ends.IsZero() {
			text += ", until " + b.Ends.Format("2 January 15:04")
		}
		if l.WhenSpent != "ignore" && b.Used >= b.Budget-int64(l.AlarmReserve) {
			k.warn("wait, or raise the budget", "%s: spent", text)
			continue
		}
		k.ok("%s", text)
	}
}

// window says when the schedule opens or closes.
func (k *checklist) window(l Carrier, s carrier.Stats, now time.Time) {
	switch {
	case len(l.Schedule) == 0:
	case s.ClockWaits:
		k.warn("see to the clock", "link %s: its schedule waits for a clock that is right", l.Name)
	case s.Open:
		k.ok("link %s: its schedule is open until %s", l.Name, clockTime(s.Changes, now))
	default:
		k.ok("link %s: its schedule opens %s", l.Name, clockTime(s.Changes, now))
	}
}

// clockTime is a time to come, with its date if that is not today's.
func clockTime(t, now time.Time) string {
	switch t = t.Local(); {
	case t.Format(time.DateOnly) == now.Local().Format(time.DateOnly):
		return t.Format("15:04")
	case t.Sub(now) < 6*24*time.Hour:
		return t.Format("Monday 15:04")
	}
	return t.Format("2 January 2006 15:04")
}

// megabytes words bytes as operators do, in powers of 1000.
func megabytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
