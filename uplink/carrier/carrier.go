// Package carrier is the way to the network: which interface a connection
// leaves by, what it costs, and when it may be used.
//
// A Link is one way (Ethernet, a SIM, a satellite): a dialer with a meter, a
// pace, a budget and a schedule. Every connection that it dials is counted as an
// operator counts, headers, handshakes, name service and retransmissions
// included.
//
//	eth := carrier.Open(carrier.Config{Name: "eth", Interface: "eth0"}, log)
//	lte := carrier.Open(carrier.Config{Name: "lte", Interface: "wwan0",
//		Budget: carrier.Budget{Month: 50e6}, State: "/var/lib/tidegate/links/lte"}, log)
//	go eth.Run(ctx)
//	go lte.Run(ctx)
//
// A Path is the links of one door out in their order: it dials over the first
// that works, and comes back to the better one when that has worked for a while.
// It tells its Forwarder which lanes may travel at present.
//
//	path := carrier.NewPath(carrier.PathConfig{}, log, eth, lte)
//	go path.Run(ctx)
//	conn, err := path.Dial(ctx, "tcp", "cloud.example:443")
//
// DESIGN.md tells what is counted, what is not, and what bounds hold.
package carrier

import (
	"cmp"
	"errors"
	"net/netip"
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/reading"
)

// Defaults of Config.
const (
	DefaultDeadAfter   = 30 * time.Second
	DefaultKeepalive   = time.Minute
	DefaultDialTimeout = 10 * time.Second
)

// What metered and expensive links wait for, and how often they make sure that
// an idle connection still lives: 104 bytes with their answer.
const (
	meteredBytes, meteredAge, meteredKeepalive       = 4 << 10, time.Minute, 10 * time.Minute
	expensiveBytes, expensiveAge, expensiveKeepalive = 16 << 10, 10 * time.Minute, 30 * time.Minute
)

// Config says what a Link is. Every field but Name may be left zero.
type Config struct {
	// Name is what people call the link.
	Name string
	// Interface is the network interface that connections leave by, for example
	// wwan0. Empty leaves that to the system's routing.
	Interface string
	// Source is the address that connections come from, if it is valid.
	Source netip.Addr
	// DNS are the name servers that are asked over this link, instead of those of
	// resolv.conf(5).
	DNS []netip.AddrPort
	// Rate is how many bytes a second are sent, headers included; zero for any
	// number.
	Rate int64
	// Budget is what may pass.
	Budget Budget
	// Schedule is when the link may be used. Outside of it only the lanes of
	// Always may travel.
	Schedule Schedule
	Always   reading.LaneSet
	// Lanes may travel at all; zero stands for all of them.
	Lanes reading.LaneSet
	// Metered and Expensive set what MinBytes, MinAge and Keepalive are when they
	// say nothing.
	Metered, Expensive bool
	// MinBytes and MinAge let readings wait for company, as in uplink.Permit.
	// Negative values stand for zero.
	MinBytes int
	MinAge   time.Duration
	// DeadAfter is how long sent data may be unacknowledged until the connection
	// counts as dead, DefaultDeadAfter if zero.
	DeadAfter time.Duration
	// Keepalive is how long a connection may be idle until the other end is asked
	// whether it is still there; one that is not is found within DeadAfter from
	// then. DefaultKeepalive if zero.
	Keepalive time.Duration
	// DialTimeout bounds one Dial, DefaultDialTimeout if zero.
	DialTimeout time.Duration
	// State is the file that keeps what was counted; empty for none.
	State string
	// Zone is where days begin, time.Local if nil.
	Zone *time.Location
	// Clock is how late it is.
	Clock Clock
}

// Clock is how late it is, and how far that can be trusted. Zero fields stand
// for the machine's own.
type Clock struct {
	Now    func() time.Time
	Synced func() bool          // a time source keeps Now right
	Uptime func() time.Duration // since boot
}

// Company returns for how many bytes, and how long at the most, readings wait
// before they travel; both are 0 when they do not.
func (c Config) Company() (bytes int, age time.Duration) {
	c = c.withDefaults()
	return c.MinBytes, c.MinAge
}

// withDefaults returns c with every field set.
func (c Config) withDefaults() Config {
	minBytes, minAge, keepalive := 0, time.Duration(0), DefaultKeepalive
	switch {
	case c.Expensive:
		minBytes, minAge, keepalive = expensiveBytes, expensiveAge, expensiveKeepalive
	case c.Metered:
		minBytes, minAge, keepalive = meteredBytes, meteredAge, meteredKeepalive
	}
	c.MinBytes = max(0, cmp.Or(c.MinBytes, minBytes))
	c.MinAge = max(0, cmp.Or(c.MinAge, minAge))
	c.Keepalive = cmp.Or(c.Keepalive, keepalive)
	c.DeadAfter = cmp.Or(c.DeadAfter, DefaultDeadAfter)
	c.DialTimeout = cmp.Or(c.DialTimeout, DefaultDialTimeout)
	c.Lanes = cmp.Or(c.Lanes, reading.AllLanes)
	c.Zone = cmp.Or(c.Zone, time.Local)
	if c.Clock.Now == nil {
		c.Clock.Now = time.Now
	}
	if c.Clock.Synced == nil {
		c.Clock.Synced = bootclock.Synced
	}
	if c.Clock.Uptime == nil {
		c.Clock.Uptime = bootclock.Uptime
	}
	return c
}

// Permit is what a link allows at present; it is uplink.Permit, which this
// package is below.
type Permit struct {
	// Lanes may travel.
	Lanes reading.LaneSet
	// MinBytes and MinAge let readings wait for company.
	MinBytes int
	MinAge   time.Duration
}

// ErrClosed means that a link lets nothing pass at present, or that its
// interface is down.
var ErrClosed = errors.New("the link is closed")
