// Package encode turns blocks into message bodies: Packed for a tidegate cloud,
// and the formats of Encodings for everybody else.
//
// An encoder is pure (the same blocks and limit give the same body) but keeps
// working memory, so each Forwarder has one of its own. docs/reference/encodings.md
// shows what each format looks like, and a test keeps it true.
package encode

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tidegate/tidegate/uplink"
)

// Per says what gets a message of its own.
type Per uint8

// The values of Per: everything that is sent at once, or each device, series or
// reading in it.
const (
	Batch Per = iota
	Device
	Series
	Reading

	pers = 4
)

// String returns the name as it is written in configuration files.
func (p Per) String() string {
	switch p {
	case Batch:
		return "batch"
	case Device:
		return "device"
	case Series:
		return "series"
	case Reading:
		return "reading"
	}
	return "unknown"
}

// ParsePer is the inverse of Per.String.
func ParsePer(name string) (Per, bool) {
	for p := range Per(pers) {
		if p.String() == name {
			return p, true
		}
	}
	return 0, false
}

// The names of the encodings.
const (
	packedName      = "packed"
	jsonName        = "json"
	ndjsonName      = "ndjson"
	senmlJSONName   = "senml+json"
	senmlCBORName   = "senml+cbor"
	lineName        = "line"
	rawName         = "raw"
	valueName       = "value"
	thingsboardName = "thingsboard"
)

// Encodings returns the names of all encodings.
func Encodings() []string {
	return []string{
		packedName, jsonName, ndjsonName, senmlJSONName, senmlCBORName,
		lineName, rawName, valueName, thingsboardName,
	}
}

// Config says what bodies look like.
type Config struct {
	// Gateway names the gateway, 1 to wire.MaxGateway bytes.
	Gateway string
	// Encoding is one of Encodings.
	Encoding string
	// Per says what gets a message of its own. Encodings that know one way only
	// (raw and value: a reading) take Batch for it.
	Per Per
	// Pieces says that the sink sends uplink.Part by Part. A batch that is
	// larger than the limit is then cut into several; without Pieces it is one
	// body however large it is.
	Pieces bool
	// Line is for the encoding "line".
	Line LineConfig
}

// New returns an encoder. Its errors end in a hint.
func New(cfg Config) (uplink.Encoder, error) {
	c := newCutter(cfg)
	var err error
	switch cfg.Encoding {
	case packedName:
		return NewPacked(cfg.Gateway), only(cfg, Batch)
	case jsonName:
		c.format = jsonFormat{lone: cfg.Per == Reading}
	case ndjsonName:
		c.format = ndjson{}
	case senmlJSONName:
		c.format = newSenML(senmlJSON{})
	case senmlCBORName:
		c.format = newSenML(senmlCBOR{})
	case lineName:
		c.format, err = newLine(cfg.Line)
	case rawName, valueName:
		c.format, c.per, c.cuts = plain(cfg.Encoding), Reading, true
		err = only(cfg, Batch, Reading)
	case thingsboardName:
		c.format, c.byDevice = thingsboard{}, true
		err = only(cfg, Batch, Device)
	default:
		err = fmt.Errorf("encoding %q is not known — hint: one of %s", cfg.Encoding, strings.Join(Encodings(), ", "))
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// only refuses what an encoding cannot be cut into.
func only(cfg Config, allowed ...Per) error {
	var names []string
	for _, p := range allowed {
		if p == cfg.Per {
			return nil
		}
		names = append(names, strconv.Quote(p.String()))
	}
	return fmt.Errorf("a message per %s does not go with encoding %s — hint: write %s", cfg.Per, cfg.Encoding, strings.Join(names, " or "))
}
