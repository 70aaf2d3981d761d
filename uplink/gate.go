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
}

// look asks the Gate.
func (fl *flow) look() {
	fl.gate.Permit, fl.gate.changed = fl.cfg.Gate.Permit()
}

// company is how long the delivery still waits for others to join it, as the Gate
// wants it.
func (fl *flow) company(d *delivery) time.Duration {
	if d.lane() == reading.Alarm || fl.size.body(d.bytes) >= min(fl.gate.MinBytes, fl.size.target()) {
		return 0
	}
	return max(fl.gate.MinAge-time.Since(d.opened), 0)
}
