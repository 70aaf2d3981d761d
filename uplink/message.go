package uplink

import (
	"fmt"
	"net/url"

	"github.com/tidegate/tidegate/reading"
)

// Key names what a message carries. Re-sends repeat the key, and the receiver
// drops what it already has: that makes delivery exactly once in effect.
type Key struct {
	Gateway     string
	Epoch       uint64
	Lane        reading.Lane
	First, Last uint64
}

// String is the key as it travels in headers and message ids:
// gateway/epoch(hex)/lane/first-last.
func (k Key) String() string {
	return fmt.Sprintf("%s/%016x/%s/%d-%d", k.Gateway, k.Epoch, k.Lane, k.First, k.Last)
}

// Message is what a Sink sends: an encoded body and its key.
type Message struct {
	Key
	// Count is the number of readings in the body.
	Count int
	// ContentType is the Encoder's.
	ContentType string
	// Body is never changed once Send has begun: a transport may still be
	// reading it when Send has given up. A Sink must not change it either.
	Body []byte
	// Parts, if not nil, cut Body into messages of their own: one for each
	// device, series or reading.
	Parts []Part
}

// Part is a stretch of a Message's Body that travels by itself.
type Part struct {
	// Body is a stretch of the Message's Body.
	Body []byte
	// First and Last are the numbers of its first and its last reading, Count is
	// how many it has. Numbers in between may belong to other parts.
	First, Last uint64
	Count       int
	// Device and Metric are what all of its readings have in common; "" where
	// they differ, and for a whole message.
	Device, Metric string
	// Time is the latest of its readings', in nanoseconds since the Unix epoch;
	// 0 for a whole message.
	Time int64
	// Flags are the reading's, of a part that is only one.
	Flags reading.Flags
}

// Pieces returns what travels by itself: the parts, or else the whole.
func (m Message) Pieces() []Part {
	if m.Parts != nil {
		return m.Parts
	}
	return []Part{{Body: m.Body, First: m.First, Last: m.Last, Count: m.Count}}
}

// PartKey names a part of the message as Key.String names the whole:
//
//	gateway/epoch(hex)/lane/first-last
//	gateway/epoch(hex)/lane/first-last/device
//	gateway/epoch(hex)/lane/first-last/device/metric
//
// The longer ones are for parts that have only some of the numbers from first
// to last. Device and metric are escaped as segments of a URL's path.
func (m Message) PartKey(p Part) string {
	k := m.Key
	k.First, k.Last = p.First, p.Last
	name := k.String()
	if m.Parts == nil || uint64(p.Count) == p.Last-p.First+1 {
		return name
	}
	name += "/" + url.PathEscape(p.Device)
	if p.Metric != "" {
		name += "/" + url.PathEscape(p.Metric)
	}
	return name
}

// largest is the size of the largest piece, in bytes.
func largest(body []byte, parts []Part) int {
	if parts == nil {
		return len(body)
	}
	n := 0
	for _, p := range parts {
		n = max(n, len(p.Body))
	}
	return n
}
