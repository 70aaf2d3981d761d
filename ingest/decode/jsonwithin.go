package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// within takes a string that holds bytes, or the payload of another decoder,
// about which k is known.
func (w *walker) within(at int32, k known) error {
	switch w.nodes[at].kind {
	case 'n':
		return nil
	case '"':
	default:
		return w.failAt(at, w.field.label+" is no string", "what is decoded, and bytes in hex or base64, must be in one")
	}
	text, err := w.textAt(at)
	if err != nil {
		return err
	}
	held, ok := w.field.kind.held(text)
	if !ok {
		return w.failAt(at, w.field.label+" is no "+w.field.kind.notation(), "the type may be another one, or the payload was cut short")
	}
	if len(held) == 0 {
		return nil
	}
	if w.field.inner != nil {
		return w.inner(at, held, k)
	}
	if w.pathEnd == 0 {
		if err := w.enter([]byte(w.lastName())); err != nil {
			return err
		}
	}
	return w.add(w.names.find(w.path[:w.pathEnd]).name, reading.Bytes(string(held)))
}

// held returns the bytes that a string of the kind holds.
func (k kind) held(text []byte) (held []byte, ok bool) {
	switch k {
	case hexKind:
		if len(text) > 1 && text[0] == '0' && text[1]|0x20 == 'x' {
			text = text[2:]
		}
		held = make([]byte, hex.DecodedLen(len(text)))
		_, err := hex.Decode(held, text)
		return held, err == nil
	case base64Kind:
		encoding := base64.RawStdEncoding
		if bytes.ContainsAny(text, "-_") {
			encoding = base64.RawURLEncoding
		}
		text = bytes.TrimRight(text, "=")
		held = make([]byte, encoding.DecodedLen(len(text)))
		n, err := encoding.Decode(held, text)
		return held[:n], err == nil
	}
	return text, true
}

func (k kind) notation() string {
	if k == hexKind {
		return "hex"
	}
	return "base64"
}

// inner lets the field's decoder read what its string holds. Times that are
// relative to the arrival are so to the time that is known, if there is one,
// which is no clock of the gateway's.
func (w *walker) inner(at int32, held []byte, k known) error {
	f := w.frame
	f.Payload = held
	if len(k.device) > 0 {
		f.Device = w.devices.find(k.device).name
	}
	if k.when != 0 {
		f.Now = k.when
	}
	first := len(w.out)
	out, err := w.field.inner.Decode(w.out, f)
	if err != nil {
		problem := strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ")
		return fmt.Errorf("%w: %s at byte %d of %d holds: %s", ErrMalformed, w.field.label, w.nodes[at].start, len(w.text), problem)
	}
	w.out = out
	if w.room -= len(out) - first; w.room < 0 {
		return w.failAt(at, "too many readings", "split the payload, or raise max_readings")
	}
	for i := first; i < len(out); i++ {
		if k.when != 0 {
			out[i].Flags &^= reading.Stamped
		}
		if w.pathEnd == 0 {
			continue
		}
		var ok bool
		if out[i].Metric, ok = w.template.text.joined(string(w.path[:w.pathEnd]), out[i].Metric); !ok {
			return w.failAt(at, "name too long", "names may have 256 bytes")
		}
	}
	return nil
}
