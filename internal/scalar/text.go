package scalar

import (
	"bytes"
	"unicode/utf8"
)

// Text returns the text in the bytes of b up to the first NUL, without the
// spaces and 0xFF bytes that fill up what is left of a field. MidBig and Little
// swap the bytes of each 16-bit word, as devices do that keep texts in
// registers; a last odd byte stays. ok is false when the text is not UTF-8.
func Text(b []byte, order Order) (text string, ok bool) {
	if order == MidBig || order == Little {
		swapped := bytes.Clone(b)
		for i := 0; i+1 < len(swapped); i += 2 {
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
		}
		b = swapped
	}
	if end := bytes.IndexByte(b, 0); end >= 0 {
		b = b[:end]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == 0xff) { // bytes.TrimRight takes every broken byte for 0xFF
		b = b[:len(b)-1]
	}
	return string(b), utf8.Valid(b)
}
