package frame

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// Kind is how frames are told apart.
type Kind uint8

// The kinds. The package comment says of each what it can promise.
const (
	// Line is text that ends with CR, LF or both, or with Config.Delimiter.
	Line Kind = iota
	// SLIP is RFC 1055: END (C0) between frames, ESC (DB) before what stands
	// for END and ESC in a frame.
	SLIP
	// HDLC is the byte-stuffed framing of RFC 1662, §4: 7E between frames, 7D
	// before a byte whose bit 5 is inverted. PPP's checksum is CRC16X25.
	HDLC
	// COBS is Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999),
	// with a zero after each frame.
	COBS
	// Length has a field that says how long the frame is; see Config.Length.
	Length
	// STXETX has a control character before and after; see Config.Envelope.
	STXETX
	// Fixed frames have Config.Size bytes each.
	Fixed
	// Gap frames are apart in time, as in Modbus RTU: whoever reads the line
	// calls Idle.
	Gap
	// Octets is the octet counting of RFC 6587, §3.4.1, which syslog uses over
	// TCP: the length in decimal digits, a space, the message.
	Octets
	kinds
)

// kindNames are the names in configuration files.
var kindNames = [kinds]string{"line", "slip", "hdlc", "cobs", "length", "stx-etx", "fixed", "gap", "octet-counting"}

// String returns the name that configuration files use.
func (k Kind) String() string {
	if k >= kinds {
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Kinds returns the names of all kinds.
func Kinds() []string { return append([]string(nil), kindNames[:]...) }

// ParseKind returns the kind of that name.
func ParseKind(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name {
			return Kind(k), true
		}
	}
	return Line, false
}

// Form is how a checksum is written.
type Form uint8

// The forms. Customary is little endian for CRC16Modbus and CRC16X25, digits for
// NMEA, and big endian for the others.
const (
	Customary Form = iota
	Big
	Little
	// Hex is hexadecimal digits of either case, the highest first.
	Hex
	forms
)

// LengthField says where a frame of kind Length tells its length, and what that
// counts. The zero value is two bytes, big endian, at the beginning, which count
// the payload.
type LengthField struct {
	// Bytes of the field: 1, 2 or 4; zero stands for 2.
	Bytes int
	// Little endian, the lowest byte first.
	Little bool
	// Offset is how many bytes of the frame stand before the field, Sync
	// included.
	Offset int
	// Adjust is added to the number to get the bytes of the payload: zero if it
	// counts the payload, -2 if it also counts itself and has two bytes, and so
	// on for a checksum or a header that it counts, too.
	Adjust int
}

// Escapes is how an envelope tells its control characters from data.
type Escapes uint8

// The ways. NoEscapes is for text: neither Start nor End is part of a payload.
const (
	NoEscapes Escapes = iota
	// EscapeEach puts Escape before each Start, End and Escape of the payload.
	EscapeEach
	// EscapeDouble begins frames with Escape Start and ends them with Escape
	// End, and doubles each Escape of the payload.
	EscapeDouble
	escapes
)

// Envelope is the control characters of the kind STXETX. Zeros stand for STX
// (02), ETX (03) and DLE (10).
type Envelope struct {
	Start, End, Escape byte
	Escapes            Escapes
	// SumAfterEnd says that the checksum follows the end of the frame and
	// covers the bytes as they came after the start, the end included, as the
	// block check character of ISO 1745 does. It is not escaped.
	SumAfterEnd bool
}

// Config describes a framing. The zero value is text lines.
type Config struct {
	Kind Kind
	// MaxFrame is the longest payload in bytes, 16 KiB by default.
	MaxFrame int
	// DropHalf makes Idle end a frame that has begun: it was cut off then. It
	// is for lines on which the bytes of a frame follow each other closely.
	DropHalf bool

	// Delimiter ends a Line. Empty stands for CR, LF and CR LF, all at once.
	Delimiter string
	Length    LengthField
	Envelope  Envelope
	// Size is the length of a Fixed frame as it is on the line, Sync, checksum
	// and Trailer included.
	Size int
	// Sync is what each frame of kind Length or Fixed begins with, and Trailer
	// what it ends with, after the checksum.
	Sync, Trailer string
	// KeepHeader makes frames of kind Length come out with what stands before
	// the payload, Sync and length included.
	KeepHeader bool

	Checksum Checksum
	Form     Form
	// Separator stands before a checksum in Hex, which does not cover it.
	Separator string
	// SumFrom is the first byte that the checksum covers, counted from that
	// which a frame of kind Length or Fixed begins with.
	SumFrom int
}

// The bounds of a Config.
const (
	defaultMaxFrame = 16 << 10
	// MaxMaxFrame is the largest MaxFrame.
	MaxMaxFrame = 16 << 20
	// maxMark bounds delimiters, Sync and the like.
	maxMark = 16
	maxHead = 256
)

func (c Config) withDefaults() Config {
	c.MaxFrame = cmp.Or(c.MaxFrame, defaultMaxFrame)
	c.Length.Bytes = cmp.Or(c.Length.Bytes, 2)
	c.Envelope.Start = cmp.Or(c.Envelope.Start, 0x02)
	c.Envelope.End = cmp.Or(c.Envelope.End, 0x03)
	c.Envelope.Escape = cmp.Or(c.Envelope.Escape, 0x10)
	return c
}

// Resyncs says whether frames are found again after noise. If not, a lost or
// superfluous byte shifts all that follows, until Idle or Reset: then a stream
// that can be begun anew should be.
func (c Config) Resyncs() bool {
	switch c.Kind {
	case Length, Fixed:
		return c.Checksum != None || c.Sync != "" || c.Trailer != ""
	case Octets:
		return false
	}
	return true
}

// Check returns what is wrong with the framing, with a hint.
func (c Config) Check() error {
	c = c.withDefaults()
	switch {
	case c.Kind >= kinds:
		return fmt.Errorf("no kind of framing has the number %d — hint: use one of the constants", c.Kind)
	case c.Checksum >= checksums:
		return fmt.Errorf("no checksum has the number %d — hint: use one of the constants", c.Checksum)
	case c.Form >= forms:
		return fmt.Errorf("no form of checksums has the number %d — hint: use one of the constants", c.Form)
	case c.MaxFrame < 1 || c.MaxFrame > MaxMaxFrame:
		return fmt.Errorf("frames of %d bytes — hint: a number from 1 to %d", c.MaxFrame, MaxMaxFrame)
	}
	return first(c.checkUse, c.checkSum, c.checkLength, c.checkEnvelope, c.checkSize)
}

// first returns the first error only: the others often follow from it.
func first(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkUse refuses what the kind has no use for: somebody thinks that it is
// looked at.
func (c Config) checkUse() error {
	sized := c.Kind == Length || c.Kind == Fixed
	for _, u := range []struct {
		what     string
		set, use bool
		kinds    string
	}{
		{"a delimiter", c.Delimiter != "", c.Kind == Line, "line"},
		{"sync bytes", c.Sync != "", sized, "length or fixed"},
		{"a trailer", c.Trailer != "", sized, "length or fixed"},
		{"a first byte of the checksum", c.SumFrom != 0, sized, "length or fixed"},
		{"a header that is kept", c.KeepHeader, c.Kind == Length, "length"},
		{"a size", c.Size != 0, c.Kind == Fixed, "fixed"},
		{"a checksum after the end", c.Envelope.SumAfterEnd, c.Kind == STXETX, "stx-etx"},
	} {
		if u.set && !u.use {
			return fmt.Errorf("framing %s has no use for %s — hint: leave it out, or use the framing %s", c.Kind, u.what, u.kinds)
		}
	}
	for what, mark := range map[string]string{"delimiter": c.Delimiter, "sync": c.Sync, "trailer": c.Trailer, "separator": c.Separator} {
		if len(mark) > maxMark {
			return fmt.Errorf("the %s has %d bytes — hint: %d at the most", what, len(mark), maxMark)
		}
	}
	return nil
}

func (c Config) checkSum() error {
	switch {
	case c.Checksum == None && c.Form != Customary:
		return errors.New("a form without a checksum — hint: name the checksum, too")
	case c.Separator != "" && (c.Form != Hex || c.Checksum == NMEA):
		return errors.New("a separator without a checksum in hexadecimal digits — hint: write the checksum in hex, or leave the separator out")
	case c.Checksum == NMEA && (c.Kind != Line || c.Form == Big || c.Form == Little):
		return errors.New("the checksum of NMEA stands at the end of a line, as *hh — hint: use xor8 for other framings")
	case c.Kind == Line && c.Checksum != None && c.Checksum != NMEA && c.Form != Hex:
		return errors.New("a checksum in binary may look like the end of a line — hint: write it in hex, or use the framing slip or cobs")
	case c.Envelope.SumAfterEnd && c.Checksum == None:
		return errors.New("there is no checksum that could follow the end — hint: name one")
	case c.Kind == STXETX && c.Envelope.Escapes == NoEscapes && !c.Envelope.SumAfterEnd && c.Checksum != None && c.Form != Hex:
		return errors.New("a checksum in binary may look like the end of the frame — hint: put it after the end, write it in hex, or use escapes")
	case strings.ContainsAny(c.Separator, "\r\n") && c.Kind == Line && c.Delimiter == "":
		return errors.New("the separator ends the line — hint: use another, for example \"*\"")
	}
	return nil
}

func (c Config) checkLength() error {
	l := c.Length
	if c.Kind != Length {
		if l != (LengthField{Bytes: 2}) {
			return fmt.Errorf("framing %s has no length field — hint: use the framing length", c.Kind)
		}
		return nil
	}
	head := l.Offset + l.Bytes
	switch {
	case l.Bytes != 1 && l.Bytes != 2 && l.Bytes != 4:
		return fmt.Errorf("a length field of %d bytes — hint: 1, 2 or 4", l.Bytes)
	case l.Offset < len(c.Sync) || head > maxHead:
		return fmt.Errorf("the length field stands after %d bytes, of which %d are sync bytes — hint: count the sync bytes; %d at the most", l.Offset, len(c.Sync), maxHead-l.Bytes)
	case l.Adjust < -maxHead || l.Adjust > maxHead:
		return fmt.Errorf("%d is added to the length — hint: from -%d to %d", l.Adjust, maxHead, maxHead)
	case c.SumFrom < 0 || c.SumFrom > maxHead:
		return fmt.Errorf("the checksum covers what begins at byte %d — hint: from 0 to %d", c.SumFrom, maxHead)
	}
	return nil
}

func (c Config) checkEnvelope() error {
	e := c.Envelope
	if c.Kind != STXETX {
		if e != (Envelope{Start: 0x02, End: 0x03, Escape: 0x10}) {
			return fmt.Errorf("framing %s has no control characters of its own — hint: use the framing stx-etx", c.Kind)
		}
		return nil
	}
	switch {
	case e.Escapes >= escapes:
		return fmt.Errorf("no way of escaping has the number %d — hint: use one of the constants", e.Escapes)
	case e.Start == e.End:
		return fmt.Errorf("frames begin and end with %02X — hint: use two different bytes, or the framing hdlc for 7E", e.Start)
	case e.Escapes != NoEscapes && (e.Escape == e.Start || e.Escape == e.End):
		return fmt.Errorf("the escape %02X begins or ends frames, too — hint: use another byte", e.Escape)
	}
	return nil
}

func (c Config) checkSize() error {
	if c.Kind != Fixed {
		return nil
	}
	around := len(c.Sync) + c.sealOf().size + len(c.Trailer)
	switch {
	case c.Size <= around:
		return fmt.Errorf("frames of %d bytes, of which %d are no payload — hint: size is the whole frame as it is on the line", c.Size, around)
	case c.Size-around > c.MaxFrame:
		return fmt.Errorf("frames of %d bytes, where at most %d are allowed — hint: raise the largest frame", c.Size-around, c.MaxFrame)
	case c.SumFrom < 0 || c.SumFrom >= len(c.Sync)+c.Size-around:
		return fmt.Errorf("the checksum covers what begins at byte %d, where the payload has ended — hint: 0 stands for all that is before it", c.SumFrom)
	}
	return nil
}
