// Package sizing computes what a load of readings takes: of the buffer, of flash and
// of the link. Its figures are fitted to what was measured of the buffer and the
// doors out (docs/understand/benchmarks.md); its tests hold them against the real ones. They are
// for sensors whose values drift, with a decimal or two. Noise takes up to eight bytes
// a reading more, and what has been observed of a gateway is better than any model.
package sizing

import (
	"math"
	"time"
)

// Load is what comes in: messages that are spread evenly over the devices and over
// time, each with a reading of every metric of its device.
type Load struct {
	Readings float64 // a second, all together
	Devices  int     // at least 1
	Metrics  int     // readings a message, at least 1
}

func (l Load) messages() float64 { return l.Readings / float64(l.Metrics) }

// Pace is when readings are committed: the keys of [buffer] after its profile.
type Pace struct {
	Budget          int64 // bytes of flash a day; 0 is without limit
	Delay, Interval time.Duration
}

// Day is a day of commits.
type Day struct {
	Commits float64 // a second
	Low     float64 // bytes of flash in a day, segments being written for the second time
	High    float64 // and for the first, when they are filled with zeros before
	Fresh   float64 // bytes of the journal for a reading, as it is committed
	Forced  bool    // the delay forces more commits than the budget pays for
}

const (
	segment  = 8 << 20 // bytes of a file of the journal
	page     = 4096    // what a sync writes at least
	record   = 32 + 6  // bytes around a block, in the journal
	joined   = 2048    // readings of a merged block
	smallest = 2 << 10 // mean bytes of a record, below which a segment is merged

	// A commit takes a moment, in which others gather: of a sync of a card.
	syncTime = 2 * time.Millisecond
	// What the file system writes by itself, for each five seconds in which there
	// was a commit: measured with 1, 10 and 47 commits a second, 5 to 8 kB.
	fileSystem = 6000
	second5    = 24 * 60 * 60 / 5

	daySeconds = 24 * 60 * 60
)

// block returns the bytes of a block of so many messages. Names and the first values
// are most of it while there are few; later samples of a series are differences.
func (l Load) block(messages float64) float64 { return l.blockOf(messages, 0.4) }

func (l Load) blockOf(messages, later float64) float64 {
	metrics, devices := float64(l.Metrics), min(messages, float64(l.Devices))
	few := min(devices, 32)
	return 70 + 15*metrics + max(few-1, 0)*(4.3+1.6*metrics) + (devices-few)*(2+1.2*metrics) +
		max(messages-devices, 0)*metrics*later
}

// Day returns a day of the load.
func (l Load) Day(p Pace) Day {
	free := commits(l.messages(), max(p.Interval, syncTime))
	d := l.day(free)
	if p.Budget == 0 || d.High <= float64(p.Budget) {
		return d
	}
	few := min(commits(l.messages(), max(p.Delay, p.Interval, syncTime)), free)
	if forced := l.day(few); forced.High > float64(p.Budget) {
		forced.Forced = true
		return forced
	}
	for range 50 { // the budget is spent: as many commits as it pays for
		if mean := (few + free) / 2; l.day(mean).High > float64(p.Budget) {
			free = mean
		} else {
			few = mean
		}
	}
	return l.day(few)
}

// commits is how many a second there are when each waits for company.
func commits(messages float64, wait time.Duration) float64 {
	return messages / (1 + messages*wait.Seconds())
}

// day is a day of so many commits a second. The budget counts what the buffer
// writes, the file system's own writes are beside it.
func (l Load) day(commits float64) Day {
	block := l.block(l.messages() / commits)
	low := daySeconds * commits * (page + block + record)
	return Day{Commits: commits, Low: low, High: low + daySeconds*commits*(block+record),
		Fresh: (block + record) * commits / l.Readings}
}

// FileSystem is what the file system writes beside a day's commits, in bytes.
func (d Day) FileSystem() float64 {
	return fileSystem * min(second5, d.Commits*daySeconds)
}

// Kept returns the bytes of the journal for a reading that has waited for a while:
// small blocks are merged then.
func (l Load) Kept(d Day) float64 {
	merged := (l.blockOf(joined/float64(l.Metrics), 0.32) + l.parts()) / joined
	if d.Fresh*l.Readings/d.Commits >= smallest || merged > d.Fresh/2 {
		return d.Fresh
	}
	return merged
}

// parts are the bytes with which a merged block tells the numbers of its readings:
// for each message none with one device, 1 with a hundred, 1.5 with 400.
func (l Load) parts() float64 {
	bits := math.Log2(float64(l.Devices))
	return joined / float64(l.Metrics) * bits * bits / 50
}

// Holds returns how long a buffer of so many bytes lasts at least while nothing is
// sent. A segment's worth of it may have been sent already, in the one that is being
// written, and the newest one before that is not merged yet.
func Holds(maxBytes int64, rate, fresh, kept float64) time.Duration {
	room := float64(maxBytes - segment)
	seconds := (max(room-segment, 0)/kept + min(room, segment)/fresh) / rate
	return time.Duration(min(seconds, 100*365*daySeconds) * float64(time.Second))
}

// Needs returns the bytes of a buffer for an outage, in whole segments and at least
// four of them, with one to spare.
func Needs(outage time.Duration, rate, fresh, kept float64) int64 {
	rest := max(outage.Seconds()*rate-segment/fresh, 0) * kept
	return segment * max(int64(math.Ceil(min(rest, 1<<60)/segment))+3, 4)
}

// around returns what a message takes beside its body, headers of the protocol and of
// TCP and IP, acknowledgements as well: cell "sinks" of docs/understand/benchmarks.md, a message
// of four readings on a line without delay, less its body.
func around(kind string) (bytes float64, known bool) {
	bytes, known = map[string]float64{
		"http": 494, "websocket": 234, "mqtt": 209, "kafka": 402, "amqp": 318,
		"amqp1": 1062, "stomp": 310, "redis": 386, "nats": 398, "file": 0,
	}[kind]
	return bytes, known
}

// Wire returns the bytes of a day on a link over which readings travel together, a
// message each wait or when it has batch bytes, packed; TLS is not counted. It is
// false for a kind of uplink that was not measured.
func (l Load) Wire(kind string, wait time.Duration, batch int64) (bytes float64, known bool) {
	head, known := around(kind)
	sent := l.messages()
	if wait > 0 {
		sent = commits(sent, wait)
	}
	for n := 0; wait > 0 && n < 40 && l.block(l.messages()/sent) > float64(batch); n++ {
		sent *= 1.25
	}
	return daySeconds * sent * (head + l.block(l.messages()/sent) + 3), known
}

// Memory returns the resident bytes of the process: when idle, with a long backlog,
// and for each device that has a connection and a message a second.
func (l Load) Memory() float64 {
	const idle, backlog, client = 17.1, 14.2, 0.035 // MiB, cell "rss"
	return (idle + backlog + client*float64(l.Devices)) * (1 << 20)
}

// Amplification is how many bytes a card wears for one that it is given. 1 is what the
// makers' endurance is stated for. 4 is a sync of 4 kB that costs a flash page of 16 kB.
// Both are assumptions: no card tells.
const (
	AmplificationLow  = 1.0
	AmplificationHigh = 4.0
)

// Years returns how long a card lasts that bears endurance bytes, if it is given
// perDay and wears amplification times as much.
func Years(endurance, perDay, amplification float64) float64 {
	return endurance / (perDay * amplification) / 365
}
