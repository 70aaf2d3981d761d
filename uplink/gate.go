package uplink

import (
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Gate is what a link allows: a schedule, a budget, or a satellite that is for
// alarms only.
type Gate interface {
	// Permit returns what is allowed at present. changed is closed when that may
	// have changed; nil says that it never does.
	Permit() (p Permit, changed <-chan struct{})
}

// Permit is what a link allows at present.
type Permit struct {
	// Lanes may travel.
	Lanes reading.LaneSet
	// MinBytes and MinAge let readings wait for company: a message that is not
	// an alarm goes when its body has MinBytes, or when its first block has
	// waited for MinAge. Zero MinBytes never waits.
	MinBytes int
	MinAge   time.Duration
}

type alwaysOpen struct{}

func (alwaysOpen) Permit() (Permit, <-chan struct{}) { return Permit{Lanes: reading.AllLanes}, nil }

// gate is what the flow knows of its Gate.
type gate struct {
	Permit
	changed <-chan struct{}
	ripe    <-chan time.Time // fires when the next message has waited for long enough
}

// look asks the Gate. When the lanes are other ones, what is being fetched is
// called off: it may be of a lane that is closed now, or miss one that is open.
func (fl *flow) look() {
	permit, changed := fl.cfg.Gate.Permit()
	if fl.fetching && permit.Lanes != fl.fetchLanes {
		fl.callOff()
	}
	fl.gate = gate{Permit: permit, changed: changed, ripe: fl.untilRipe(permit)}
}

// untilRipe is when the next of the open deliveries has waited for long enough.
func (fl *flow) untilRipe(p Permit) <-chan time.Time {
	var next time.Duration
	for _, d := range fl.queue {
		if d.state != open || !p.Lanes.Has(d.lane()) || fl.isRipe(d, p) {
			continue
		}
		if left := p.MinAge - time.Since(d.opened); next == 0 || left < next {
			next = left
		}
	}
	if next <= 0 {
		return nil
	}
	return time.After(next)
}

// isRipe reports whether the delivery need not wait for company.
func (fl *flow) isRipe(d *delivery, p Permit) bool {
	return d.lane() == reading.Alarm || fl.size.body(d.bytes) >= min(p.MinBytes, fl.size.target) ||
		time.Since(d.opened) >= p.MinAge
}
