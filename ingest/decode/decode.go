// Package decode turns payloads into readings. Decoders are pure: no clock, no
// I/O, no state that a caller could see. They are told what the door knows (a
// Frame) and append what the payload says.
//
// JSON reads what firmware sends: a plain value, an object, an array of
// samples; its type comment says how names and times are found. Raw keeps a
// payload whole. What a decoder refuses, a door may keep with Opaque, so that
// nothing is acknowledged and then forgotten.
package decode

import (
	"errors"

	"github.com/tidegate/tidegate/reading"
)

// ErrMalformed means that the peer sent something that is not what it should
// be: the same bytes would fail again.
var ErrMalformed = errors.New("malformed payload")

// Frame is one payload and what its door knows about it.
type Frame struct {
	// Device is who sent it, from a topic template, a port or an address.
	Device string
	// Metric names the value of a payload that is a single plain value; a
	// payload with field names of its own does not need it.
	Metric string
	// Payload is only valid during the call.
	Payload []byte
}

// Decoder turns one frame into readings.
type Decoder interface {
	// Decode appends the frame's readings to dst, at least one, and returns
	// it. An error wraps ErrMalformed and leaves dst as it was. Readings whose
	// payload tells no time have Time zero. A Decoder is safe for concurrent
	// use.
	Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error)
}
