package fileout

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"unicode/utf8"

	"github.com/tidegate/tidegate/uplink"
)

// kind is what a file holds, and the end of its name.
type kind string

const (
	chunks    kind = "chunks" // chunks of package wire, which say where they end
	jsonLines kind = "ndjson" // a JSON text a line
	textLines kind = "txt"    // a line of anything
)

// kinds says how media types are kept in files. A JSON document becomes one line.
var kinds = map[string]kind{
	"application/vnd.tidegate.chunk": chunks,
	"application/json":               jsonLines,
	"application/senml+json":         jsonLines,
	"application/x-ndjson":           jsonLines,
	"application/jsonl":              jsonLines,
	"text/plain":                     textLines,
}

// kindOf returns the kind of file that the message belongs into.
func kindOf(m uplink.Message) (kind, error) {
	media, _, err := mime.ParseMediaType(m.ContentType)
	k, known := kinds[media]
	if err != nil || !known {
		return "", uplink.Misconfigured(fmt.Errorf("%q has no place in a file — hint: set encoding to packed, json or ndjson", m.ContentType))
	}
	isDocument := media == "application/json" || media == "application/senml+json"
	for _, p := range m.Pieces() {
		switch {
		case len(p.Body) == 0:
			return "", uplink.Permanent(errors.New("a message without a body — hint: this is a fault of the encoder"))
		case isDocument && bytes.IndexByte(p.Body, '\n') >= 0:
			return "", uplink.Permanent(errors.New("a document of several lines — hint: set encoding to packed or ndjson"))
		case k != chunks && longest(p.Body) > maxLine:
			return "", uplink.TooLarge(fmt.Errorf("a line of more than %d bytes, which nobody would read — hint: set encoding to packed", maxLine))
		}
	}
	return k, nil
}

// longest is the length of the longest line with its end.
func longest(body []byte) (most int) {
	if len(body) < maxLine {
		return len(body) // or less
	}
	for len(body) > 0 {
		n := bytes.IndexByte(body, '\n') + 1
		if n == 0 {
			return max(most, len(body)+1)
		}
		most, body = max(most, n), body[n:]
	}
	return most
}

// ended reports whether the body ends as a record does; if not, a line end does.
func (k kind) ended(body []byte) bool {
	return k == chunks || body[len(body)-1] == '\n'
}

// valid reports whether a line is a record. What was never written to the end
// reads as zeros on some file systems.
func (k kind) valid(line []byte) bool {
	if k == jsonLines {
		return json.Valid(line)
	}
	return utf8.Valid(line) && bytes.IndexByte(line, 0) < 0
}
