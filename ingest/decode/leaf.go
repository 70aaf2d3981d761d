package decode

import (
	"bytes"
	"strings"

	"github.com/tidegate/tidegate/reading"
)

// Leaf decodes payloads of topics that nobody has described, where Frame.Device
// is the whole topic. The last level of the topic names a plain value; it does
// not name an object, because "sensors/kitchen" and "sensors/cellar" are two
// devices when their payloads have names.
type Leaf struct{ Decoder }

// Decode implements Decoder.
func (l Leaf) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	slash := strings.LastIndexByte(f.Device, '/')
	if slash > 0 && isPlain(f.Payload) {
		f.Device, f.Metric = f.Device[:slash], f.Device[slash+1:]
	}
	return l.Decoder.Decode(dst, f)
}

// isPlain says whether a payload is neither an object nor an array.
func isPlain(payload []byte) bool {
	payload = bytes.TrimLeft(payload, " \t\r\n")
	return len(payload) > 0 && payload[0] != '{' && payload[0] != '['
}
