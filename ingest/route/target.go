package route

import (
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// Target is what one topic, path or port means. Its strings may share the
// topic's memory.
type Target struct {
	// Topic is the topic or path itself; empty where there is none.
	Topic string
	// Device and Metric are for the Frame that Decoder is given.
	Device, Metric string
	// Lane is for the readings that come back, unless Refine chooses another.
	Lane reading.Lane
	// Decoder reads the payloads; never nil.
	Decoder decode.Decoder
	// KeepOpaque says that a payload that Decoder refuses is kept with
	// decode.Opaque rather than dropped.
	KeepOpaque bool
	// Refine is what happens to readings before custody; it may be nil.
	Refine Refiner
}

// Refiner changes readings on their way from a decoder to custody.
type Refiner interface {
	// Refine changes dst[first:], takes readings out and adds others, and
	// returns dst. now is the time, in nanoseconds since the Unix epoch, of
	// readings that have none.
	Refine(dst []reading.Reading, first int, now int64) []reading.Reading
	// Forget makes the next reading of every series pass: those before it may
	// not have been kept.
	Forget()
}

// Fate is what became of a payload.
type Fate uint8

// The fates. Decoded payloads gave readings, or said something that is
// remembered; Opaque ones could not be decoded and are kept whole; Dropped ones
// could not be decoded and are not kept, because the route says so.
const (
	Decoded Fate = iota
	Opaque
	Dropped
)

// Arrival is what a door knows of payloads that came in together.
type Arrival struct {
	// Intake is where their readings will be handed to.
	Intake *ingest.Intake
	// Now is Intake.Now, which one call tells for many payloads.
	Now int64
	// Flags are for all readings.
	Flags reading.Flags
}

// Read appends the readings of a payload: decoded, or whole, with lane, units
// and flags, refined. The error says why a payload could not be decoded; its fate
// is Opaque or Dropped then, and it is acknowledged like any other.
//
// There may be no readings, because all were filtered out or because the payload
// was an announcement: it may be acknowledged at once then, unless
// (*ingest.Intake).Owes.
func (t *Target) Read(dst []reading.Reading, payload []byte, a Arrival) ([]reading.Reading, Fate, error) {
	frame := decode.Frame{
		Topic: t.Topic, Device: t.Device, Metric: t.Metric, Payload: payload,
		Now: a.Now, Memory: a.Intake.Memory(),
	}
	first, fate := len(dst), Decoded
	dst, err := t.Decoder.Decode(dst, frame)
	switch {
	case err != nil && t.KeepOpaque:
		dst, fate = decode.Opaque(dst, frame), Opaque
	case err != nil:
		return dst, Dropped, err
	default:
		decode.FillUnits(dst[first:], frame)
	}
	for i := first; i < len(dst); i++ {
		dst[i].Flags |= a.Flags
		if t.Lane != reading.Normal {
			dst[i].Lane = t.Lane
		}
	}
	if t.Refine != nil {
		a.Intake.Settle()
		dst = t.Refine.Refine(dst, first, a.Now)
	}
	return dst, fate, err
}
