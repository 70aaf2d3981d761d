package decode

import (
	"errors"
	"strings"
	"testing"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/tidegate/tidegate/reading"
)

func FuzzLineProtocol(f *testing.F) {
	textSeeds(f, "lineprotocol")
	configs := []LineProtocolConfig{{MaxReadings: fuzzReadings}, {MaxReadings: fuzzReadings, Metric: "field", SkipTags: []string{"*"}}, {MaxReadings: fuzzReadings, DeviceTags: []string{"a"}, SkipTags: []string{"b"}}}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewLineProtocol(configs[int(which)%len(configs)])
		checkText(t, must(t, d, err), payload)
	})
}

// FuzzLineProtocolAgreesWithInflux compares with the library of those who made
// the format: what it takes is taken, with the same values and times, and what
// it refuses is refused.
func FuzzLineProtocolAgreesWithInflux(f *testing.F) {
	textSeeds(f, "lineprotocol")
	d, err := NewLineProtocol(LineProtocolConfig{TimeUnit: Nanoseconds, Metric: "field", SkipTags: []string{"*"}, DeviceTags: []string{"\x01"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte, _ uint8) {
		want, ok := influx(payload)
		rs, err := d.Decode(nil, Frame{Payload: payload})
		if differs(payload) || len(want) > 100 {
			return
		}
		if ok != (err == nil) && !(ok && (len(want) == 0 || errors.Is(err, ErrMalformed) && strings.Contains(err.Error(), "256 bytes"))) {
			t.Fatalf("%q: %v, influx says %v", payload, err, ok)
		}
		if ok && err == nil && golden(rs, nil) != golden(want, nil) {
			t.Fatalf("%q: got %s, want %s", payload, golden(rs, nil), golden(want, nil))
		}
	})
}

// differs says whether a payload is about something that we see otherwise on
// purpose: the library knows more escapes in texts than the documentation
// (\n, \r, \t) and wants LF behind CR; we leave NUL bytes behind a payload out
// and take 64 tags at the most.
func differs(payload []byte) bool {
	text := string(payload)
	if strings.ContainsAny(text, "\r\x00") || strings.Count(text, ",") > maxTags {
		return true
	}
	for _, escape := range []string{`\n`, `\r`, `\t`} {
		if strings.Contains(text, escape) {
			return true
		}
	}
	return false
}

// influx decodes with the library; ok is false if it finds anything wrong.
func influx(payload []byte) (rs []reading.Reading, ok bool) {
	d := lineprotocol.NewDecoderWithBytes(payload)
	for d.Next() {
		if _, err := d.Measurement(); err != nil {
			return nil, false
		}
		for {
			key, _, err := d.NextTag()
			if err != nil {
				return nil, false
			}
			if key == nil {
				break
			}
		}
		first := len(rs)
		for {
			key, value, err := d.NextField()
			if err != nil {
				return nil, false
			}
			if key == nil {
				break
			}
			rs = append(rs, reading.Reading{Metric: string(key), Value: influxValue(value)})
		}
		at, err := d.TimeBytes()
		if err != nil {
			return nil, false
		}
		n, rest, isNumber := parseNumber(at)
		if at != nil && (!isNumber || len(rest) > 0) {
			return nil, false
		}
		ns, _ := n.time(Nanoseconds)
		for i := first; at != nil && i < len(rs); i++ {
			rs[i].Time = ns
		}
	}
	return rs, d.Err() == nil
}

func influxValue(v lineprotocol.Value) reading.Value {
	switch v.Kind() {
	case lineprotocol.Int:
		return reading.Int(v.IntV())
	case lineprotocol.Uint:
		if v.UintV() > 1<<63-1 {
			return reading.Float(float64(v.UintV()))
		}
		return reading.Int(int64(v.UintV()))
	case lineprotocol.Float:
		return reading.Float(v.FloatV())
	case lineprotocol.Bool:
		return reading.Bool(v.BoolV())
	}
	return reading.String(v.StringV())
}
