package encode

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"

	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// peers are the two notations and the decoder of the doors in, which knows
// nothing of the encoder.
func peers(t testing.TB, cfg decode.SenMLConfig) map[string]decode.Decoder {
	t.Helper()
	j, err := decode.NewSenMLJSON(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c, err := decode.NewSenMLCBOR(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]decode.Decoder{senmlJSONName: j, senmlCBORName: c}
}

func TestSenMLReadsBack(t *testing.T) {
	blocks := anyKind(t, 11, 6, 70)
	want := decodeAll(t, blocks)
	for name, peer := range peers(t, decode.SenMLConfig{Split: "base"}) {
		body, _ := encoded(t, Config{Encoding: name}, blocks, math.MaxInt)
		got, err := peer.Decode(nil, decode.Frame{Payload: body})
		if err != nil || len(got) != len(want) {
			t.Fatalf("%s: %d readings of %d, %v", name, len(got), len(want), err)
		}
		for i, r := range got {
			w := want[i].Reading
			w.Device = "gw/" + w.Device
			if !sameReading(r, w) {
				t.Errorf("%s: reading %d is %+v, want %+v", name, i, r, w)
			}
		}
	}
}

// sameReading compares what SenML has words for.
func sameReading(got, want reading.Reading) bool {
	return got.Device == want.Device && got.Metric == want.Metric && got.Unit == want.Unit &&
		got.Time == want.Time && canonical(got.Value) == canonical(want.Value)
}

// canonical gives numbers that are the same one kind, and what JSON lacks its
// text.
func canonical(v reading.Value) reading.Value {
	switch f := v.Float(); {
	case v.Kind() == reading.KindInt:
		return reading.Number(v.Int())
	case v.Kind() != reading.KindFloat:
	case !finite(f):
		return reading.String(string(appendFloat(nil, f)))
	case f == math.Trunc(f) && math.Abs(f) < 1<<63:
		return reading.Number(int64(f))
	}
	return v
}

// A pack of one series says its whole name once, and its unit.
func TestSenMLIsThrifty(t *testing.T) {
	var rs []reading.Reading
	for i := range 3 {
		rs = append(rs, reading.Reading{Device: "boiler", Metric: "temp", Unit: "Cel", Time: 1_700_000_000_000_000_000 + int64(i)*1_500_000_000, Value: reading.Float(21.5)})
	}
	body, _ := encoded(t, Config{Encoding: senmlJSONName}, []wire.Block{block(t, wire.Header{Epoch: 1, First: 7}, rs)}, math.MaxInt)
	want := `[{"bn":"gw/boiler/temp","bt":1700000000,"bu":"Cel","bgw":"gw","bepoch":"0000000000000001","blane":"normal","bseq":7,"v":21.5},{"t":1.5,"v":21.5},{"t":3,"v":21.5}]`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

// TestSenMLNumbersEveryRecord resolves bseq as documented, in both notations and
// with libraries that are not ours.
func TestSenMLNumbersEveryRecord(t *testing.T) {
	blocks := anyKind(t, 5, 4, 40)
	want := decodeAll(t, blocks)
	for name, unmarshal := range map[string]func([]byte, any) error{senmlJSONName: json.Unmarshal, senmlCBORName: cbor.Unmarshal} {
		for _, per := range []Per{Batch, Device, Series, Reading} {
			body, parts := encoded(t, Config{Encoding: name, Per: per}, blocks, math.MaxInt)
			var bodies [][]byte
			for _, p := range parts {
				bodies = append(bodies, p.Body)
			}
			if parts == nil {
				bodies = [][]byte{body}
			}
			seen := map[uint64]bool{}
			for _, b := range bodies {
				var records []map[any]any
				if name == senmlJSONName {
					var texts []map[string]any
					if err := unmarshal(b, &texts); err != nil {
						t.Fatal(err)
					}
					for _, r := range texts {
						records = append(records, anyKeys(r))
					}
				} else if err := unmarshal(b, &records); err != nil {
					t.Fatal(err)
				}
				if r := records[0]; r["bgw"] != "gw" || r["bepoch"] != "000000000000beef" || r["blane"] != "bulk" {
					t.Fatalf("%s: the first record is %v", name, r)
				}
				seq := uint64(0)
				for _, r := range records {
					seq++
					if base, ok := r["bseq"]; ok {
						fmt.Sscan(fmt.Sprint(base), &seq)
					}
					seen[seq] = true
				}
			}
			for _, w := range want {
				if !seen[w.seq] {
					t.Errorf("%s per %s: number %d is nowhere", name, per, w.seq)
				}
			}
		}
	}
}

func anyKeys(m map[string]any) map[any]any {
	out := map[any]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// TestSenMLKeepsTheStandardsExamples has the packs of RFC 8428 decoded, encoded
// by us, and decoded again: nothing that they say is lost on the way.
func TestSenMLKeepsTheStandardsExamples(t *testing.T) {
	files, err := filepath.Glob("../../ingest/decode/testdata/senml-rfc*/in.json")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	seen := 0
	examples := peers(t, decode.SenMLConfig{})[senmlJSONName]
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		want, err := examples.Decode(nil, decode.Frame{Payload: text, Now: 1_700_000_000_000_000_000})
		if err != nil {
			continue // an example of what is refused
		}
		for i := range want {
			want[i].Time = max(want[i].Time, 1_700_000_000_000_000_000) // the intake stamps what has none
		}
		blocks := []wire.Block{block(t, wire.Header{Epoch: 1, First: 1}, want)}
		for name, peer := range peers(t, decode.SenMLConfig{Split: "none"}) {
			body, _ := encoded(t, Config{Encoding: name}, blocks, math.MaxInt)
			got, err := peer.Decode(nil, decode.Frame{Payload: body})
			if err != nil || len(got) != len(want) {
				t.Fatalf("%s as %s: %v, %v of %s", file, name, err, got, body)
			}
			for i, w := range decodeAll(t, blocks) {
				w.Device, w.Metric = "", wholeName(w.Reading)
				if !sameReading(got[i], w.Reading) {
					t.Errorf("%s as %s: %+v, want %+v", file, name, got[i], w.Reading)
				}
			}
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("only %d examples went through", seen)
	}
}

// wholeName is the name that a reading of legal names has in a pack.
func wholeName(r reading.Reading) string {
	switch {
	case r.Device == "":
		return "gw/" + r.Metric
	case strings.HasPrefix(r.Device, "urn:"):
		return r.Device + ":" + r.Metric
	}
	return "gw/" + r.Device + "/" + r.Metric
}

func TestSenMLVersionAndTimes(t *testing.T) {
	rs := []reading.Reading{
		{Device: "meter", Metric: "energy", Unit: "kWh", Time: 1_700_000_000_123_456_789, Value: reading.Float(1)},
		{Device: "meter", Metric: "lost", Time: 5_500_000_000, Value: reading.Float(2)}, // of a clock that was never set
		{Device: "meter", Metric: "back", Time: 1_700_000_001_000_000_000, Value: reading.Float(3)},
		{Device: "meter", Metric: "far", Time: 1_702_000_000_000_000_000, Value: reading.Float(4), Flags: reading.Bad},
	}
	var blocks []wire.Block
	for i, r := range rs { // a block would sort them
		rs[i].Device = "gw/meter"
		blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 1)}, []reading.Reading{r}))
	}
	body, _ := encoded(t, Config{Encoding: senmlJSONName}, blocks, math.MaxInt)
	want := `[{"bver":26,"bn":"gw/meter/","bt":1700000000.123456,"bgw":"gw","bepoch":"0000000000000001","blane":"normal","bseq":1,"n":"energy","u":"kWh","t":0.000000789,"v":1},` +
		`{"bt":0,"n":"lost","v":2,"clock":5.5},{"bt":1700000001,"n":"back","v":3},{"bt":1702000000,"n":"far","v":4,"quality":"bad"}]`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
	for name, peer := range peers(t, decode.SenMLConfig{Split: "base"}) {
		body, _ := encoded(t, Config{Encoding: name}, blocks, math.MaxInt)
		got, err := peer.Decode(nil, decode.Frame{Payload: body})
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range rs {
			if i == 1 {
				r.Time = 0
			}
			if !sameReading(got[i], r) {
				t.Errorf("%s: %+v, want %+v", name, got[i], r)
			}
		}
	}
}

func TestSenMLNamesStayApart(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"temp", "te mp", "te_mp", "te_20mp", "te_5F20mp", "Küche", "K_C3_BCche", "$tidegate", "a%b", "_", "", "_4", "_4G", "_41", "A"} {
		out := string(appendName(nil, name))
		if other, ok := seen[out]; ok {
			t.Errorf("%q and %q are both %q", name, other, out)
		}
		seen[out] = name
		for _, c := range []byte(out) {
			if !isAlphanumeric(c) && !strings.ContainsRune("-:./_", rune(c)) {
				t.Errorf("%q has a character that no name has", out)
			}
		}
	}
	for _, plain := range []string{"temp_in", "motor.current", "urn:dev:mac:0024befffe804ff1", "a/b-c"} {
		if got := string(appendName(nil, plain)); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}

// FuzzSenML: whatever devices call themselves and send, both notations are read
// back by the decoder of the doors in, and say what they sent.
func FuzzSenML(f *testing.F) {
	f.Add("boiler", "temp", "Cel", "eco", 21.37, int64(1), int64(1_700_000_000_123_456_789))
	f.Add("urn:dev:ow:10e2073a01080063", "", "", "\x00\xff", math.Inf(-1), int64(math.MinInt64), int64(77))
	f.Add("$tidegate", "_41 ü", "kWh", "", 1e300, int64(1)<<53, int64(1)<<60)
	all := peers(f, decode.SenMLConfig{Split: "base"})
	f.Fuzz(func(t *testing.T, device, metric, unit, text string, number float64, integer, at int64) {
		if len(device)+len(metric) > 70 || len(unit) > 100 || !utf8.ValidString(unit) || !utf8.ValidString(text) {
			return // what the decoder refuses, and what becomes U+FFFD
		}
		if at >= absolute {
			at = 1_000_000_000_000_000_000 + at%3_000_000_000_000_000_000
		}
		r := reading.Reading{Device: device, Metric: metric, Unit: unit, Time: at}
		var blocks []wire.Block
		var want []reading.Reading
		for i, v := range []reading.Value{reading.Float(number), reading.Int(integer), reading.Bool(integer > 0), reading.String(text), reading.Bytes(text)} {
			r.Value = v
			r.Time += int64(i) * 999_999_999
			blocks = append(blocks, block(t, wire.Header{Epoch: 1, First: uint64(i + 1)}, []reading.Reading{r}))
			want = append(want, r)
		}
		for name, peer := range all {
			body, _ := encoded(t, Config{Encoding: name}, blocks, math.MaxInt)
			got, err := peer.Decode(nil, decode.Frame{Payload: body})
			if err != nil || len(got) != len(want) {
				t.Fatalf("%s: %v of %q", name, err, body)
			}
			whole := got[0].Device
			for i, w := range want {
				w.Device, w.Metric = whole, "value" // a lone series has its whole name in bn
				if w.Time < absolute {
					w.Time = 0
				}
				if !sameReading(got[i], w) {
					t.Fatalf("%s: %+v, want %+v in %q", name, got[i], w, body)
				}
			}
		}
	})
}
