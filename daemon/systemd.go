package daemon

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/sdnotify"
	"github.com/tidegate/tidegate/uplink"
)

const (
	// restless is how soon the line for people is looked at again after it has changed,
	// and calm after it has not: a gateway that has nothing to do is not to be woken.
	restless = 5 * time.Second
	calm     = 30 * time.Second
)

// overseer is systemd, where it has started the gateway. What cannot be told to it is
// logged once, until it can.
type overseer struct {
	systemd *sdnotify.Supervisor // nil without systemd
	deaf    atomic.Bool
}

// heed notes whether systemd was reached.
func (d *Daemon) heed(err error) {
	if !d.deaf.Swap(err != nil) && err != nil {
		d.log.Warn("systemd does not hear from this gateway, and may start it again — hint: NotifyAccess= in the unit must allow the main process", "err", err)
	}
}

// attend tells systemd that the gateway is ready when its doors listen, and how it is,
// until ctx ends. A door that cannot listen is no reason not to be ready: it is tried
// again, and the others listen.
func (d *Daemon) attend(ctx context.Context) error {
	if d.systemd == nil {
		return nil
	}
	_ = opened(ctx, d.current().doors) // the line says what does not
	said := d.condition(time.Now())
	d.heed(d.systemd.Ready(said))
	look := time.NewTimer(0)
	defer look.Stop()
	for p := (pulse{Daemon: d, probe: d.prove, within: d.systemd.Watchdog()}); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		next := min(calm, p.beat(ctx))
		if line := d.condition(time.Now()); line != said {
			d.heed(d.systemd.Status(line))
			said, next = line, min(next, restless)
		}
		look.Reset(next)
	}
}

// condition is the line that "systemctl status" shows: what is wrong first, then where
// the readings are.
func (d *Daemon) condition(now time.Time) string {
	g, b := d.current(), d.buffer.Stats()
	all := d.fallen()
	if b.Problem != "" {
		all = append(all, "nothing is acknowledged: "+b.Problem)
	}
	for _, door := range g.doors {
		if s := d.spells.of("source", door.name); s.broken {
			all = append(all, fmt.Sprintf("%s is not open: %s", door.name, s.err))
		}
	}
	if d.texts.Load().isOnTrial() {
		all = append(all, "a configuration is on trial")
	}
	if len(g.links) == 0 {
		return strings.Join(append(all, fmt.Sprintf("%d readings are kept, and there is no uplink to send them to", b.Held)), "; ")
	}
	var lag buffer.Lag
	var ways []string
	for _, l := range g.links {
		at := l.cursor.Lag()
		lag.Readings = max(lag.Readings, at.Readings)
		if lag.Oldest.IsZero() || !at.Oldest.IsZero() && at.Oldest.Before(lag.Oldest) {
			lag.Oldest = at.Oldest
		}
		ways = append(ways, l.name+" is "+l.word())
	}
	waiting := "no readings wait"
	if lag.Readings > 0 {
		waiting = fmt.Sprintf("%d readings wait", lag.Readings)
		if !lag.Oldest.IsZero() {
			waiting += ", the oldest for " + roughly(now.Sub(lag.Oldest))
		}
	}
	return strings.Join(append(append(all, waiting), ways...), "; ")
}

// word is how the link is, in a word or two.
func (l *link) word() string {
	switch f := l.forwarder.Stats(); {
	case f.State == uplink.Down:
		return "down"
	case f.State == uplink.Held:
		return "held back, as configured"
	case f.State == uplink.Up || !f.LastAck.IsZero():
		return "up"
	}
	return "idle"
}

// roughly words a time so that the words change rarely.
func roughly(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
