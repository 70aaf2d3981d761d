package ingest_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// acknowledge is the moment of truth: a device forgets what it has sent.
func (w *world) acknowledge(ps []*packet) {
	stored, noted := w.custody.Stored(), w.custody.Noted()
	for _, p := range ps {
		d := p.device
		p.acked = true
		d.open = slices.DeleteFunc(d.open, func(o *packet) bool { return o == p })
		if p.measure && !w.standsFor(stored, p) {
			w.Fatalf("%s: %#v was acknowledged; stored are %v", d.name, p, of(d, stored))
		}
		if p.turns && w.filters && !isUrgent(of(d, stored), p) {
			w.Fatalf("%s: %#v raised an alarm and was acknowledged; stored are %v", d.name, p, of(d, stored))
		}
		if p.key != "" && !w.isNoted(noted, p) {
			w.Fatalf("%s: %#v was acknowledged; noted is %q of %q", d.name, p, noted["announced/"+p.key], w.said[p.key])
		}
	}
}

func of(d *device, stored []reading.Reading) (own []reading.Reading) {
	for _, r := range stored {
		if r.Device == d.name {
			own = append(own, r)
		}
	}
	return own
}

// standsFor reports whether one of the readings of the latest time that is not
// after p is p, or within the deadband of it.
func (w *world) standsFor(stored []reading.Reading, p *packet) bool {
	latest, band := int64(0), int64(0)
	if w.filters {
		band = w.band
	}
	for _, r := range of(p.device, stored) {
		if r.Metric == "m" && r.Time <= p.time {
			latest = max(latest, r.Time)
		}
	}
	if !w.filters && latest != p.time {
		return false
	}
	return slices.ContainsFunc(of(p.device, stored), func(r reading.Reading) bool {
		return r.Metric == "m" && r.Time == latest && max(r.Value.Int()-p.value, p.value-r.Value.Int()) <= band
	})
}

// isUrgent reports whether a reading that raised an alarm is stored as such, and
// with what it has raised.
func isUrgent(stored []reading.Reading, p *packet) bool {
	found := map[string]bool{}
	for _, r := range stored {
		if r.Time == p.time && r.Lane == reading.Alarm {
			found[r.Metric+r.Value.String()] = true
		}
	}
	return found[fmt.Sprint("m", p.value)] && found["m.alarmabove"]
}

// alarm is what is known of a device's alarm, to whoever has what is stored.
func alarm(stored []reading.Reading) (level string) {
	latest := int64(0)
	for _, r := range stored {
		if r.Metric == "m.alarm" && r.Time >= latest {
			latest, level = r.Time, r.Value.Text()
		}
	}
	return level
}

// isNoted reports whether what a packet announced is on flash, or what was
// remembered later under the same key.
func (w *world) isNoted(noted map[string][]byte, p *packet) bool {
	return slices.Contains(w.said[p.key][p.said:], string(noted["announced/"+p.key]))
}

// actions are what may happen next. What moves readings on is there twice, or
// they would hardly get anywhere.
func (w *world) actions() map[string]func(*rapid.T) {
	publish := func(t *rapid.T) {
		d := w.anyDevice(t)
		w.publish(d, w.draw(t, d))
	}
	return map[string]func(*rapid.T){
		"publish": publish, "publish again": publish,
		"receive": w.receiveOne, "receive again": w.receiveOne,
		"flush": w.flushOne, "flush again": w.flushOne,
		"hang up":      func(t *rapid.T) { w.hangUp(w.anyDevice(t)) },
		"close group":  func(*rapid.T) { w.custody.Close() },
		"commit":       func(*rapid.T) { w.custody.Finish(nil) },
		"fail":         func(*rapid.T) { w.custody.Finish(errWorld) },
		"refuse":       func(t *rapid.T) { w.custody.Refuse(rapid.SampledFrom([]error{nil, nil, errWorld}).Draw(t, "why")) },
		"no room":      func(*rapid.T) { w.custody.shut() },
		"room again":   func(*rapid.T) { w.custody.unlock() },
		"crash":        func(*rapid.T) { w.crash() },
		"look at loss": func(*rapid.T) { w.life.intake.Settle() },
		"": func(*rapid.T) {
			synctest.Wait()
			w.answer()
		},
	}
}

func (w *world) anyDevice(t *rapid.T) *device { return rapid.SampledFrom(w.devices).Draw(t, "device") }

func (w *world) receiveOne(t *rapid.T) {
	d := w.anyDevice(t)
	if d.conn == nil {
		w.connect(d)
	}
	if d.conn.busy || len(d.unsent) == 0 {
		t.Skip()
	}
	d.conn.receive(w)
}

func (w *world) flushOne(t *rapid.T) {
	ready := slices.DeleteFunc(slices.Clone(w.conns), func(c *conn) bool { return c.busy || c.closed || len(c.read) == 0 })
	if len(ready) == 0 {
		t.Skip()
	}
	rapid.SampledFrom(ready).Draw(t, "conn").flush()
}

// draw draws what a device says next.
func (w *world) draw(t *rapid.T, d *device) *packet {
	d.time += int64(time.Second)
	d.value += rapid.Int64Range(-4, 4).Draw(t, "by")
	p := &packet{measure: rapid.IntRange(0, 3).Draw(t, "kind") > 0, time: d.time, value: d.value}
	if p.measure {
		before := d.hot
		if d.hot = rapid.IntRange(0, 3).Draw(t, "hot") == 0; d.hot {
			p.value += worldHot * 10
		}
		p.turns = d.hot && !before
	}
	if !p.measure || rapid.Bool().Draw(t, "both") {
		p.key = rapid.SampledFrom([]string{"a", "b"}).Draw(t, "key")
		p.words = rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "words")
	}
	return p
}

// settle lets everything come to its end, and expects that it does.
func (w *world) settle() {
	w.custody.Refuse(nil)
	w.custody.unlock()
	synctest.Wait()
	for range 20 {
		for _, d := range w.devices {
			if d.conn == nil {
				w.connect(d)
			}
			for len(d.unsent) > 0 {
				d.conn.receive(w)
			}
		}
		for _, c := range w.conns {
			if len(c.read) > 0 {
				c.flush()
			}
		}
		w.custody.Commit()
		w.answer()
	}
	for _, d := range w.devices {
		if len(d.open) > 0 {
			w.Fatalf("%s waits for ever for the acknowledgement of %#v", d.name, d.open[0])
		}
		level, want := alarm(of(d, w.custody.Stored())), map[bool]string{true: "above", false: "normal"}[d.hot]
		if level != "" && level != want || level == "" && d.hot && w.filters {
			w.Fatalf("%s: the alarm is %q, want %q; stored are %v", d.name, level, want, of(d, w.custody.Stored()))
		}
	}
}

// Whatever happens, in whatever order: what was acknowledged is on flash, and
// everything is acknowledged in the end.
func TestNothingAcknowledgedIsLost(t *testing.T) {
	for name, filters := range map[string]bool{"plain": false, "filters": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 10 { // they are short, and what may go wrong is rare
					rapid.Check(struct{ rapid.TB }{t}, func(t *rapid.T) { // a bubble has no deadline
						w := newWorld(t, filters)
						defer func() { w.life.die(); synctest.Wait() }()
						for range 5 {
							t.Repeat(w.actions())
						}
						w.settle()
					})
				}
			})
		})
	}
}
