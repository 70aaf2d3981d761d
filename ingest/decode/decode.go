// Package decode turns payloads into readings. Decoders are pure: no clock, no
// I/O, no state that a caller could see. They are told what the door knows (a
// Frame) and append what the payload says. What a device announces once and
// leaves out later (Sparkplug's aliases, a unit) they keep in the Memory that
// comes with the frame, which survives restarts.
//
// JSON reads what firmware sends: a plain value, an object, an array of
// samples; its type comment says how names and times are found. CSV, KeyValue,
// Regex, NMEA, LineProtocol and Number read other texts, and have in common what
// TextConfig says. Raw keeps a payload whole. What a decoder refuses, a door may keep with Opaque, so that
// nothing is acknowledged and then forgotten.
package decode

import (
	"errors"
	"fmt"

	"github.com/tidegate/tidegate/reading"
)

// ErrMalformed means that the peer sent something that is not what it should
// be: the same bytes would fail again.
var ErrMalformed = errors.New("malformed payload")

// ErrNoValue is the ErrMalformed of payloads that are well formed and hold no
// value, such as {"action": null}.
var ErrNoValue = fmt.Errorf("%w: no value found", ErrMalformed)

// Frame is one payload and what its door knows about it.
type Frame struct {
	// Topic is the topic or path that it came on; empty where there is none.
	Topic string
	// Device is who sent it, from a topic template, a port or an address.
	Device string
	// Metric names the value of a payload that is a single plain value; a
	// payload with field names of its own does not need it.
	Metric string
	// Payload is only valid during the call.
	Payload []byte
	// Now is when it arrived, in nanoseconds since the Unix epoch, for payloads
	// whose times are relative to that; zero if nobody knows, and they are
	// refused then. What a decoder dates with it is reading.Stamped, as what
	// Intake dates: the clock was the gateway's.
	Now int64
	// Memory holds what devices have announced. It may be nil, and then
	// remembers nothing; use Recall and Remember.
	Memory Memory
}

// Memory is what devices have announced about themselves: what an alias
// stands for, in which unit a metric is. It is safe for concurrent use.
type Memory interface {
	// Recall returns what was remembered under the key, nil if nothing was.
	// Nobody may change the bytes.
	Recall(key string) []byte
	// Remember keeps the value, which belongs to the memory from now on, in
	// place of what was there; nil forgets. It becomes durable with the
	// readings of the same payload, or before.
	Remember(key string, value []byte)
	// Units returns the units that were announced for the metrics of payloads
	// on a topic, by metric. Nobody may change the map.
	Units(topic string) map[string]string
	// RememberUnit keeps such a unit, as in reading.Reading.Unit, likewise; an
	// empty one forgets.
	RememberUnit(topic, metric, unit string)
}

// Recall returns what f's memory has under the key, nil if there is nothing.
func (f Frame) Recall(key string) []byte {
	if f.Memory == nil {
		return nil
	}
	return f.Memory.Recall(key)
}

// Remember keeps the value in f's memory, if it has one.
func (f Frame) Remember(key string, value []byte) {
	if f.Memory != nil {
		f.Memory.Remember(key, value)
	}
}

// Decoder turns one frame into readings.
type Decoder interface {
	// Decode appends the frame's readings to dst and returns it: at least one,
	// or none if the payload is an announcement that measures nothing. An
	// error wraps ErrMalformed and leaves dst as it was. Readings whose
	// payload tells no time have Time zero. A Decoder is safe for concurrent
	// use.
	Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error)
}
