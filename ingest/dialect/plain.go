package dialect

import (
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
)

// text returns a payload as a text; bytes that are none stay bytes.
func text(payload []byte) reading.Value {
	s := string(payload)
	if strings.ToValidUTF8(s, "") != s {
		return reading.Bytes(s)
	}
	return reading.String(s)
}

// refuse is the error for a payload that is not what its topic says.
func refuse(f decode.Frame, what, hint string) error {
	return fmt.Errorf("%w: a payload of %d bytes is %s — hint: %s", decode.ErrMalformed, len(f.Payload), what, hint)
}
