package encode

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func lines(t testing.TB, cfg LineConfig, rs ...reading.Reading) string {
	t.Helper()
	var blocks []wire.Block
	for i, r := range rs { // one a block, because a block sorts its readings
		blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 1)}, []reading.Reading{r}))
	}
	body, _ := encoded(t, Config{Gateway: "north-7", Encoding: lineName, Line: cfg}, blocks, math.MaxInt)
	return string(body)
}

// TestLineSaysTheStandardsExamples writes examples of InfluxDB's documentation
// of the format, with the configuration that they need.
func TestLineSaysTheStandardsExamples(t *testing.T) {
	at := func(ns int64, device, metric string, v reading.Value) reading.Reading {
		return reading.Reading{Device: device, Metric: metric, Time: ns, Value: v}
	}
	for _, c := range []struct {
		name string
		cfg  LineConfig
		rs   []reading.Reading
		want string
	}{
		{"Elements", LineConfig{Measurement: "myMeasurement", Tags: []string{"tag1={device}", "tag2=value2"}},
			[]reading.Reading{at(1556813561098000000, "value1", "fieldKey", reading.String("fieldValue"))},
			`myMeasurement,tag1=value1,tag2=value2 fieldKey="fieldValue" 1556813561098000000`},
		{"SpacesInTagsAndFields", LineConfig{Measurement: "myMeasurement", Tags: []string{"tagKey={device}"}},
			[]reading.Reading{at(1556813561098000000, "tag value", "field key", reading.Float(100))},
			`myMeasurement,tagKey=tag\ value field\ key=100 1556813561098000000`},
		{"MeasurementWithSpace", LineConfig{Measurement: "my Measurement", Tags: []string{"x={unit}"}},
			[]reading.Reading{at(1, "", "fieldKey", reading.String("string value"))},
			`my\ Measurement fieldKey="string value" 1`},
		{"QuotesInAText", LineConfig{Measurement: "myMeasurement", Tags: []string{"x={unit}"}},
			[]reading.Reading{at(1, "", "fieldKey", reading.String(`"string" within a string`))},
			`myMeasurement fieldKey="\"string\" within a string" 1`},
		{"TagKeyWithSpace", LineConfig{Measurement: "myMeasurement", Tags: []string{"tag Key1=tag Value1", "tag Key2=tag Value2"}},
			[]reading.Reading{at(1, "", "fieldKey", reading.Float(100))},
			`myMeasurement,tag\ Key1=tag\ Value1,tag\ Key2=tag\ Value2 fieldKey=100 1`},
		{"Emoji", LineConfig{Measurement: "myMeasurement", Tags: []string{"tagKey=🍭"}},
			[]reading.Reading{at(1556813561098000000, "", "fieldKey", reading.String("Launch 🚀"))},
			`myMeasurement,tagKey=🍭 fieldKey="Launch 🚀" 1556813561098000000`},
		{"SeveralFields", LineConfig{Measurement: "weather", Tags: []string{"location={device}"}},
			[]reading.Reading{at(1465839830100400200, "us-midwest", "temperature", reading.Float(82)), at(1465839830100400200, "us-midwest", "humidity", reading.Float(71))},
			`weather,location=us-midwest temperature=82,humidity=71 1465839830100400200`},
	} {
		if got := lines(t, c.cfg, c.rs...); got != c.want+"\n" {
			t.Errorf("%s:\ngot  %swant %s", c.name, got, c.want)
		}
	}
}

func TestLinesAreJoinedWhereTheyMay(t *testing.T) {
	r := func(device, metric string, at int64, v reading.Value) reading.Reading {
		return reading.Reading{Device: device, Metric: metric, Time: at, Value: v}
	}
	got := lines(t, LineConfig{},
		r("a", "x", 1, reading.Float(1)),
		r("a", "y", 1, reading.Int(2)),
		r("a", "x", 1, reading.Float(3)), // the same field again
		r("a", "z", 1, reading.Float(math.NaN())),
		r("a", "z", 1, reading.Bytes("\x00")),
		r("a", "time", 2, reading.Float(4)),
		r("b", "", 2, reading.Bool(true)),
		r("", "s", 2, reading.String("a\nb\r\\")),
		r("#", "#", -5, reading.Float(-1e30)),
		r(`a\,b\\ c\d\`, `\=`, 6, reading.Float(1)),
	)
	want := `tidegate,device=a,gateway=north-7 x=1,y=2 1
tidegate,device=a,gateway=north-7 x=3 1
tidegate,device=a,gateway=north-7 time_=4 2
tidegate,device=b,gateway=north-7 value=true 2
tidegate,gateway=north-7 s="a\\nb\\r\\" 2
tidegate,device=#,gateway=north-7 #=-1e+30 -5
tidegate,device=a_\,b\_\ c\d_,gateway=north-7 _\==1 6
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := lines(t, LineConfig{Measurement: "{device}", Tags: []string{"u={unit}"}}, r("#a", "m", 1, reading.Float(1)), r("", "m", 1, reading.Float(1))); got != "_a m=1 1\ntidegate m=1 1\n" {
		t.Errorf("a measurement that begins a comment, and one without a name: %s", got)
	}
	if got := lines(t, LineConfig{KindsApart: true, Tags: []string{"l={lane}"}}, r("", "m", 1, reading.Float(1)), r("", "m", 1, reading.Bool(true)), r("", "m", 1, reading.String("x"))); got != `tidegate,l=normal m=1,m_bool=true,m_text="x" 1`+"\n" {
		t.Errorf("kinds apart: %s", got)
	}
}

// TestLinesHaveBoundedWidth: whether a field is in a line already is looked up among
// all of it, which must not take the square of a hostile device's metrics.
func TestLinesHaveBoundedWidth(t *testing.T) {
	var rs []reading.Reading
	for i := range 3*maxRow + 1 {
		rs = append(rs, reading.Reading{Device: "d", Metric: fmt.Sprint("m", i), Time: 1, Value: reading.Float(1)})
	}
	got := lines(t, LineConfig{}, rs...)
	if n := strings.Count(got, "\n"); n != 4 || len(points(t, got)) != len(rs) {
		t.Errorf("%d lines of %d fields, want 4 of %d", n, len(points(t, got)), len(rs))
	}
}

// TestUnsayableIsCounted: what line protocol has no words for is counted, and a
// message of nothing else has nothing to send.
func TestUnsayableIsCounted(t *testing.T) {
	var rs []reading.Reading
	for i, v := range []reading.Value{reading.Bytes("a"), reading.Float(math.NaN()), reading.Float(math.Inf(1)), reading.Float(1)} {
		rs = append(rs, reading.Reading{Device: "d", Metric: "m", Time: int64(i), Value: v})
	}
	for _, per := range []Per{Batch, Device, Series, Reading} {
		e := encoder(t, Config{Encoding: lineName, Per: per}).(*Cutter)
		b := block(t, wire.Header{Epoch: 1, First: 1}, rs)
		body, parts, err := e.Encode(nil, []wire.Block{b}, math.MaxInt)
		if err != nil || string(body) != "tidegate,device=d,gateway=gw m=1 3\n" || e.LeftOut() != 3 {
			t.Errorf("per %s: %q, %v, %d left out", per, body, err, e.LeftOut())
		}
		if per != Batch && len(parts) != 1 {
			t.Errorf("per %s: %d parts", per, len(parts))
		}
		nothing := block(t, wire.Header{Epoch: 1, First: 5}, rs[:3])
		body, parts, err = e.Encode(nil, []wire.Block{nothing}, math.MaxInt)
		if err != nil || len(body) > 0 || parts == nil || len(parts) > 0 || e.LeftOut() != 6 {
			t.Errorf("per %s: %q in %v, %v, %d left out; want nothing to send", per, body, parts, err, e.LeftOut())
		}
	}
}

// point is a field as InfluxDB's own library reads it.
type point struct {
	measurement, tags, field string
	value                    lineprotocol.Value
	at                       int64
}

func points(t testing.TB, body string) []point {
	t.Helper()
	d := lineprotocol.NewDecoderWithBytes([]byte(body))
	var out []point
	for d.Next() {
		m, err := d.Measurement()
		if err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		tags, last := "", ""
		for {
			key, value, err := d.NextTag()
			if err != nil {
				t.Fatalf("%v in %q", err, body)
			}
			if key == nil {
				break
			}
			if string(key) <= last {
				t.Fatalf("tag %q behind %q in %q", key, last, body)
			}
			tags, last = tags+fmt.Sprintf("%s=%s;", key, value), string(key)
		}
		first := len(out)
		for {
			key, value, err := d.NextField()
			if err != nil {
				t.Fatalf("%v in %q", err, body)
			}
			if key == nil {
				break
			}
			out = append(out, point{string(m), tags, string(key), value, 0})
		}
		at, err := d.Time(lineprotocol.Nanosecond, time.Time{})
		if err != nil {
			t.Fatalf("%v in %q", err, body)
		}
		for i := first; i < len(out); i++ {
			out[i].at = at.UnixNano()
		}
	}
	return out
}

// FuzzLine: whatever devices call themselves and send, InfluxDB's own library
// reads what they sent.
func FuzzLine(f *testing.F) {
	f.Add("boiler", "temp", "eco", 21.37, int64(5), int64(1_700_000_000_123_456_789), false)
	f.Add(`a\,b =c\`, "\n\x00#", "\"\\\n", math.Inf(1), int64(math.MinInt64), int64(-1), true)
	f.Add("#", "time", "", 1e300, int64(0), int64(0), true)
	f.Fuzz(func(t *testing.T, device, metric, text string, number float64, integer, at int64, apart bool) {
		cfg := LineConfig{Measurement: "{metric}{device}", KindsApart: apart}
		r := reading.Reading{Device: device, Metric: metric, Time: at}
		var rs []reading.Reading
		var want []string
		for _, v := range []reading.Value{reading.Float(number), reading.Int(integer), reading.Bool(integer > 0), reading.String(text)} {
			r.Value = v
			rs = append(rs, r)
			if n, ok := v.Number(); ok && v.Kind() != reading.KindBool && finite(n) {
				want = append(want, fmt.Sprint(lineprotocol.MustNewValue(n)))
			} else if v.Kind() == reading.KindBool {
				want = append(want, fmt.Sprint(v.Bool()))
			} else if v.Kind() == reading.KindString {
				want = append(want, strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(v.Text()))
			}
		}
		if !utf8.ValidString(text) {
			return // becomes U+FFFD
		}
		got := points(t, lines(t, cfg, rs...))
		if len(got) != len(want) {
			t.Fatalf("%d points, want %d: %v", len(got), len(want), got)
		}
		for i, p := range got {
			if s := fmt.Sprint(p.value.Interface()); p.at != at || s != want[i] && p.value.Kind() != lineprotocol.Float || p.value.Kind() == lineprotocol.Float && fmt.Sprint(p.value) != want[i] {
				t.Fatalf("point %d is %+v, want %s", i, p, want[i])
			}
			if clean(device) && clean(metric) && metric != "" && p.measurement != metric+device {
				t.Fatalf("measurement %q, want %q", p.measurement, metric+device)
			}
			if clean(device) && device != "" && p.tags != "device="+device+";gateway=north-7;" {
				t.Fatalf("tags %q of device %q", p.tags, device)
			}
			if clean(metric) && metric != "" && metric != "time" && !apart && p.field != metric {
				t.Fatalf("field %q of metric %q", p.field, metric)
			}
		}
	})
}

// clean says whether a name has nothing in it that line protocol cannot write.
func clean(name string) bool {
	return utf8.ValidString(name) && !strings.HasPrefix(name, "#") && !regexp.MustCompile(`\\([,= ]|$)`).MatchString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}
