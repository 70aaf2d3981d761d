package daemon

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// peers asks whether anybody is there.
func (x *inspection) peers() {
	d := x.now
	switch {
	case d.Line != nil:
		x.bytesCame()
	case len(d.Slaves) > 0:
		if silent := silentSlaves([]dashboard.Door{d}); len(silent) > 0 {
			what, hint, _ := strings.Cut(silent[0], " — hint: ")
			x.End(netcheck.Peers, netcheck.Weak(hint, "%s", strings.TrimPrefix(what, d.Name+": ")))
			return
		}
		x.End(netcheck.Peers, netcheck.Fine("%d of %d answer", d.Clients, len(d.Slaves)))
	case d.Clients == 0:
		hint := "is the sensor on, and on this network? Does it have the right address and port of this gateway?"
		x.End(netcheck.Peers, netcheck.Weak(hint, "nobody is connected"))
	default:
		x.End(netcheck.Peers, netcheck.Fine("%s connected", count(uint64(d.Clients), "client")+" "+map[bool]string{true: "is", false: "are"}[d.Clients == 1]))
	}
}

// bytesCame looks at a serial line: whether bytes come, and whether they make frames.
func (x *inspection) bytesCame() {
	l := x.now.Line
	bad := l.BadChecksum + l.Broken + l.TooLong + l.Partial + l.Damaged
	heardSome := l.Frames+bad+l.Garbage+l.DamagedBytes > 0
	if !heardSome {
		x.End(netcheck.Peers, netcheck.Weak("is the device on, and are RX and TX, or A and B, the right way round?", "not a byte has come over %s", x.now.Address))
		return
	}
	x.End(netcheck.Peers, netcheck.Fine("bytes come; the last frame %s", ago(time.Now(), l.LastFrame)))
	switch errors := strings.Join(lineErrors(l), ", "); {
	case l.FrameErrors+l.ParityErrors+l.DamagedBytes > l.Frames:
		x.End(netcheck.Whole, netcheck.Weak("set speed, parity and stop bits as the device has them; \"tidegate probe\" finds them", "bytes come damaged, as with a wrong speed or parity: %s", errors))
	case l.Frames == 0:
		x.End(netcheck.Whole, netcheck.Weak("set the speed, and framing, as the device has them; \"tidegate probe\" finds them", "bytes come, and none of them make a frame: %s", errors))
	case bad > l.Frames:
		x.End(netcheck.Whole, netcheck.Weak("check speed, framing and checksum, and the wiring", "more frames are damaged than whole: %s", errors))
	case errors != "":
		x.End(netcheck.Whole, netcheck.Fine("%d whole frames; besides %s", l.Frames, errors))
	default:
		x.End(netcheck.Whole, netcheck.Fine("%d whole frames", l.Frames))
	}
}

// refusals asks whether somebody was sent away, with the last reason.
func (x *inspection) refusals() {
	d := x.now
	told := timesEach([]uint64{d.BadLogins, d.Denied, d.TurnedAway, d.Malformed, d.TooLarge, d.Overflowed},
		"wrong login", "against the rules (acl)", "too many connections", "not in the protocol of this door", "too large", "too fast")
	if told == "" {
		x.End(netcheck.Refused, netcheck.Fine("nobody was"))
		return
	}
	if last, ok := x.d.lastWarning(d.Name); ok {
		told += fmt.Sprintf("; the last, at %s: %s", clockTime(time.UnixMilli(last.Time), time.Now()), worded(last))
	}
	x.End(netcheck.Refused, netcheck.Weak(refusedHint(d), "sent away since the start: %s", told))
}

// timesEach says how often each thing was, of those that were.
func timesEach(n []uint64, what ...string) string {
	var all []string
	for i, n := range n {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d × %s", n, what[i]))
		}
	}
	return strings.Join(all, ", ")
}

func refusedHint(d dashboard.Door) string {
	switch {
	case d.BadLogins > 0:
		return "check user and password in the device; \"tidegate passwd\" sets one"
	case d.Denied > 0:
		return "allow the topic in [[ingest.mqtt.acl]], or correct it in the device"
	case d.Malformed > 0:
		return "does the device speak this protocol, with TLS or without as this door does?"
	}
	return "raise the limits of this door, or send less"
}

// decoded asks whether what came could be read.
func (x *inspection) decoded() {
	d := x.now
	const hint = "\"tidegate test\" shows what becomes of a payload, and the route's decode is what to correct"
	switch lost := d.Rejected + d.Damaged; {
	case lost > 0 && d.Readings == 0:
		x.End(netcheck.Readable, netcheck.Weak(hint, "%s came, and none could be read", count(lost, "payload")))
	case lost > 0:
		x.End(netcheck.Readable, netcheck.Weak(hint, "%s could not be read and were dropped", count(lost, "payload")))
	case d.Opaque > 0:
		x.End(netcheck.Readable, netcheck.Weak(hint, "%s could not be read and were kept as they are", count(d.Opaque, "payload")))
	default:
		x.End(netcheck.Readable, netcheck.Fine("everything could be read"))
	}
}

// kept asks whether what came found room.
func (x *inspection) kept() {
	if b := x.d.bufferStatus(x.g); b.State != dashboard.OK {
		what, hint, _ := strings.Cut(b.State, " — hint: ")
		x.End(netcheck.Kept, netcheck.Wrong(cmp.Or(hint, "make room on the disk, or restore the link"), "the gateway keeps nothing: %s", what))
		return
	}
	if x.now.NotStored > 0 {
		x.End(netcheck.Kept, netcheck.Weak("make room: restore the link, or raise buffer.max_bytes", "%s could not be kept and were not acknowledged", count(x.now.NotStored, "message")))
		return
	}
	x.End(netcheck.Kept, netcheck.Fine("everything is on flash"))
}
