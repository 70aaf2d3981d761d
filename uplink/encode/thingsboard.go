package encode

import "strconv"

// thingsboard writes what the gateway API of ThingsBoard takes at the topic
// v1/gateway/telemetry:
//
//	{"boiler":[{"ts":1700000000123,"values":{"temp":21.37,"on":true}}]}
//
// Devices stand in the order of their first readings; consecutive readings of
// the same millisecond share an entry. Values are as in JSON, opaque bytes are
// texts in base64, and a metric without a name is called value. ThingsBoard
// keeps one value a device, key and millisecond, so a message that is sent again
// changes nothing.
type thingsboard struct{}

func (thingsboard) contentType() string { return JSONType }

func (thingsboard) append(dst []byte, p piece) ([]byte, int) {
	dst = append(dst, '{')
	device, entry := "", 0 // entry is where the first reading of the open entry is
	for i := range p.len() {
		_, r := p.at(i)
		ms := floorDiv(r.Time, 1e6)
		switch {
		case i == 0 || r.Device != device:
			if i > 0 {
				dst = append(dst, "}}],"...)
			}
			dst = append(appendText(dst, r.Device), ':', '[')
			dst = appendEntry(dst, ms)
			device, entry = r.Device, i
		case p.joins(entry, i):
			dst = append(dst, ',')
		default:
			dst = appendEntry(append(dst, "}},"...), ms)
			entry = i
		}
		dst = appendText(dst, named(r.Metric))
		dst = appendValue(append(dst, ':'), r.Value)
	}
	return append(dst, "}}]}"...), 0
}

func appendEntry(dst []byte, ms int64) []byte {
	dst = strconv.AppendInt(append(dst, `{"ts":`...), ms, 10)
	return append(dst, `,"values":{`...)
}

// joins says whether reading i may stand in the entry that begins at first: at
// the same millisecond, and under a name that it does not have yet.
func (p piece) joins(first, i int) bool {
	_, r := p.at(i)
	_, f := p.at(first)
	if floorDiv(r.Time, 1e6) != floorDiv(f.Time, 1e6) || i-first >= maxRow {
		return false
	}
	for k := first; k < i; k++ {
		if _, other := p.at(k); named(other.Metric) == named(r.Metric) {
			return false
		}
	}
	return true
}

// maxRow bounds what stands beside each other under names that must differ.
const maxRow = 64

// named returns the metric, or what one without a name is called.
func named(metric string) string {
	if metric == "" {
		return "value"
	}
	return metric
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
