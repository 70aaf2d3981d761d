package dashboard

import "time"

// Presence counts the devices that the hub knows, by whether they keep their
// rhythm.
type Presence struct {
	// Heard devices do; Quiet ones have missed it.
	Heard, Quiet int
}

// A device is quiet when it was silent for quietFactor times the time between its
// messages, for quietLeast at the least; and for quietUnknown while that time is
// not known. state.js says the same to the page.
const (
	quietFactor  = 3
	quietLeast   = 15 * time.Second
	quietUnknown = 5 * time.Minute
)

// Presence counts the devices now.
func (h *Hub) Presence() Presence {
	h.shown.Lock()
	defer h.shown.Unlock()
	return h.table.presence(h.up())
}

// presence counts the devices at the time up, in milliseconds.
func (t *table) presence(up int64) (p Presence) {
	for _, d := range t.devices {
		if d.quiet(up) {
			p.Quiet++
		} else {
			p.Heard++
		}
	}
	return p
}

func (d *device) quiet(up int64) bool {
	limit := quietUnknown.Milliseconds()
	if d.every > 0 {
		limit = max(quietFactor*d.every, quietLeast.Milliseconds())
	}
	return up-d.seen > limit
}
