package encode

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func TestRawHandsPayloadsOn(t *testing.T) {
	qos1 := reading.Retained.WithQoS(1)
	rs := []reading.Reading{
		{Device: "site/pump-7", Metric: "raw", Time: 5, Value: reading.Bytes("\x00\xff payload"), Flags: qos1},
		{Device: "site/pump-7", Metric: "raw", Time: 6, Value: reading.Bytes(""), Flags: qos1}, // clears what was retained
		{Device: "boiler", Metric: "temp", Time: 7, Value: reading.Float(21.50)},
		{Device: "boiler", Metric: "on", Time: 8, Value: reading.Bool(false)},
		{Device: "boiler", Metric: "mode", Time: 9, Value: reading.String("eco")},
		{Device: "boiler", Metric: "count", Time: 10, Value: reading.Int(math.MinInt64)},
		{Device: "boiler", Metric: "nan", Time: 11, Value: reading.Float(math.NaN())},
	}
	var blocks []wire.Block
	for i, r := range rs {
		blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 4)}, []reading.Reading{r}))
	}
	want := []string{"\x00\xff payload", "", "21.5", "false", "eco", "-9223372036854775808", "NaN"}
	for name, contentType := range map[string]string{rawName: "application/octet-stream", valueName: "text/plain; charset=utf-8"} {
		e := encoder(t, Config{Encoding: name})
		_, parts, err := e.Encode(nil, blocks, 3)
		if err != nil || len(parts) != len(rs) || e.ContentType() != contentType {
			t.Fatalf("%s: %d parts of %s, %v", name, len(parts), e.ContentType(), err)
		}
		for i, p := range parts {
			r := rs[i]
			if string(p.Body) != want[i] || p.Body == nil || p.Device != r.Device || p.Metric != r.Metric ||
				p.Time != r.Time || p.Flags != r.Flags || p.First != uint64(i+4) || p.Last != p.First || p.Count != 1 {
				t.Errorf("%s: %+v %q, want %+v", name, p, p.Body, r)
			}
		}
	}
}

// The first document is the one that ThingsBoard's documentation shows.
func TestThingsboardSaysItsOwnExample(t *testing.T) {
	const first, second = 1483228800000_000_000, 1483228801000_000_000
	var blocks []wire.Block
	for i, r := range []reading.Reading{
		{Device: "Device A", Metric: "temperature", Time: first, Value: reading.Float(42)},
		{Device: "Device A", Metric: "humidity", Time: first + 999_999, Value: reading.Float(80)},
		{Device: "Device B", Metric: "temperature", Time: first, Value: reading.Float(42)},
		{Device: "Device A", Metric: "temperature", Time: second, Value: reading.Float(43)},
		{Device: "Device A", Metric: "humidity", Time: second, Value: reading.Float(82)},
		{Device: "Device B", Metric: "humidity", Time: first, Value: reading.Float(80)},
		{Device: "Device B", Metric: "humidity", Time: first, Value: reading.Float(81)}, // the same again
		{Device: "Device B", Metric: "", Time: -1, Value: reading.Bytes("\x00\xff")},
	} {
		blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 1)}, []reading.Reading{r}))
	}
	const a = `"Device A":[{"ts":1483228800000,"values":{"temperature":42,"humidity":80}},{"ts":1483228801000,"values":{"temperature":43,"humidity":82}}]`
	const b = `"Device B":[{"ts":1483228800000,"values":{"temperature":42,"humidity":80}},{"ts":1483228800000,"values":{"humidity":81}},{"ts":-1,"values":{"value":"AP8="}}]`
	body, parts := encoded(t, Config{Encoding: thingsboardName}, blocks, math.MaxInt)
	if want := "{" + a + "," + b + "}"; string(body) != want || parts != nil {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	_, parts = encoded(t, Config{Encoding: thingsboardName, Per: Device}, blocks, math.MaxInt)
	if len(parts) != 2 || string(parts[0].Body) != "{"+a+"}" || string(parts[1].Body) != "{"+b+"}" || parts[1].Device != "Device B" {
		t.Errorf("%d parts: %+v", len(parts), parts)
	}
}

// FuzzThingsboard: whatever devices call themselves and send, the document is
// JSON, and no name stands twice in an object.
func FuzzThingsboard(f *testing.F) {
	f.Add("boiler", "temp", "on", "eco", 21.37, int64(1_700_000_000_123_456_789))
	f.Add("\"\\\n\x00", "\xff", "\xff", "\u2028", math.NaN(), int64(-1))
	f.Fuzz(func(t *testing.T, device, metric, other, text string, number float64, at int64) {
		var blocks []wire.Block
		for i, r := range []reading.Reading{
			{Device: device, Metric: metric, Time: at, Value: reading.Float(number)},
			{Device: device, Metric: other, Time: at, Value: reading.String(text)},
			{Device: other, Metric: metric, Time: at, Value: reading.Bytes(text)},
			{Device: device, Metric: metric + other, Time: at, Value: reading.Int(at)},
		} {
			blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 1)}, []reading.Reading{r}))
		}
		body, _ := encoded(t, Config{Encoding: thingsboardName}, blocks, math.MaxInt)
		var doc map[string][]struct {
			Ts     int64
			Values map[string]any
		}
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		values := 0
		for _, entries := range doc {
			for _, e := range entries {
				values += len(e.Values)
				if e.Ts != floorDiv(at, 1e6) {
					t.Errorf("ts %d of %d", e.Ts, at)
				}
			}
		}
		if invalid := mayCollide(device, other) || mayCollide(metric, other) || mayCollide(metric+other, metric); values != 4 && !invalid {
			t.Errorf("%d values of 4 in %s", values, body)
		}
		if want := base64.StdEncoding.EncodeToString([]byte(text)); device != other && !mayCollide(device, other) && doc[other] != nil && doc[other][0].Values[named(metric)] != nil && doc[other][0].Values[named(metric)] != want {
			t.Errorf("bytes %v, want %s", doc[other][0].Values, want)
		}
	})
}

// mayCollide says whether two names may be one in JSON: bytes that are no UTF-8
// all become U+FFFD there.
func mayCollide(a, b string) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return a != b && string(x) == string(y)
}
