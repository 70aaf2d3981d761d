package encode

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// The document in the comment of NewJSON, without its line ends.
const example = `{"gateway":"north-7","epoch":"00000000000004d2","lane":"normal","first":1,"last":4,"readings":[` +
	`{"seq":1,"device":"boiler","metric":"temp","unit":"Cel","time":1700000000123000000,"value":21.37,"quality":"good"},` +
	`{"seq":2,"device":"boiler","metric":"on","time":1700000000123000000,"value":true,"quality":"good"},` +
	`{"seq":3,"device":"boiler","metric":"mode","time":1700000000123000000,"value":"eco","quality":"bad"},` +
	`{"seq":4,"device":"modem","metric":"","time":1700000000123000000,"bytes":"AP8=","quality":"good"}]}`

func TestJSONIsTheDocumentInItsComment(t *testing.T) {
	const at = 1_700_000_000_123_000_000
	blocks := []wire.Block{
		block(t, wire.Header{Epoch: 1234, First: 1}, []reading.Reading{
			{Device: "boiler", Metric: "temp", Unit: "Cel", Time: at, Value: reading.Float(21.37)},
			{Device: "boiler", Metric: "on", Time: at, Value: reading.Bool(true)},
		}),
		block(t, wire.Header{Epoch: 1234, First: 3}, []reading.Reading{
			{Device: "boiler", Metric: "mode", Time: at, Value: reading.String("eco"), Flags: reading.Bad},
		}),
		block(t, wire.Header{Epoch: 1234, First: 4}, []reading.Reading{
			{Device: "modem", Time: at, Value: reading.Bytes("\x00\xff")},
		}),
	}
	body, _, err := NewJSON("north-7").Encode(nil, blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	if string(body) != example {
		t.Errorf("got  %s\nwant %s", body, example)
	}
}

// document is what a receiver reads.
type document struct {
	Gateway, Epoch, Lane string
	First, Last          uint64
	Readings             []documentReading
}

type documentReading struct {
	Seq                           uint64
	Device, Metric, Unit, Quality string
	Time                          int64
	Value                         json.RawMessage
	Bytes                         []byte
}

func TestJSONCarriesEveryReading(t *testing.T) {
	blocks := commits(t, 20, 7)
	body, _, err := NewJSON("gw").Encode(nil, blocks, math.MaxInt)
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	want := decodeAll(t, blocks)
	if len(doc.Readings) != len(want) || doc.First != 1 || doc.Last != uint64(len(want)) {
		t.Fatalf("%d readings %d to %d, want %d", len(doc.Readings), doc.First, doc.Last, len(want))
	}
	for i, r := range doc.Readings {
		w := want[i]
		var value float64
		if err := json.Unmarshal(r.Value, &value); err != nil {
			t.Fatal(err)
		}
		if r.Seq != w.seq || r.Device != w.Device || r.Metric != w.Metric || r.Time != w.Time || value != w.Value.Float() {
			t.Fatalf("reading %d is %+v, want %+v", i, r, w)
		}
	}
}

func TestJSONValues(t *testing.T) {
	for _, c := range []struct {
		v    reading.Value
		want string
	}{
		{reading.Float(0), `0`},
		{reading.Float(-40.5), `-40.5`},
		{reading.Float(1e21), `1e+21`},
		{reading.Float(1e-7), `1e-07`},
		{reading.Float(math.MaxFloat64), `1.7976931348623157e+308`},
		{reading.Float(math.NaN()), `"NaN"`},
		{reading.Float(math.Inf(1)), `"+Inf"`},
		{reading.Float(math.Inf(-1)), `"-Inf"`},
		{reading.Int(math.MaxInt64), `9223372036854775807`},
		{reading.Bool(false), `false`},
		{reading.String(`say "hi"` + "\n"), `"say \"hi\"\n"`},
		{reading.String("Grüße"), `"Grüße"`},
	} {
		if got := string(appendMember(nil, c.v)); got != `,"value":`+c.want {
			t.Errorf("%v: %s, want %s", c.v, got, c.want)
		}
	}
}

func TestJSONQualities(t *testing.T) {
	for flags, want := range map[reading.Flags]string{0: "good", reading.Uncertain: "uncertain", reading.Bad | reading.Stamped: "bad"} {
		got := string(AppendReading(nil, 1, &reading.Reading{Value: reading.Float(1), Flags: flags}))
		if !strings.HasSuffix(got, `"quality":"`+want+`"}`) {
			t.Errorf("flags %#x: %s, want %s", flags, got, want)
		}
	}
}

// FuzzJSON: whatever devices call themselves and send, the document is JSON,
// and says what they sent.
func FuzzJSON(f *testing.F) {
	f.Add("boiler", "temp", "eco", 21.37)
	f.Add("\"\\\n\x00", "\xff\xfe", "\u2028<script>", math.NaN())
	f.Fuzz(func(t *testing.T, device, metric, text string, number float64) {
		b := block(t, wire.Header{Epoch: 1, First: 9}, []reading.Reading{
			{Device: device, Metric: metric, Time: 1, Value: reading.String(text)},
			{Device: device, Metric: metric + "2", Time: 1, Value: reading.Float(number)},
			{Device: device, Metric: metric + "3", Time: 1, Value: reading.Bytes(text)},
		})
		body, _, err := NewJSON(device).Encode(nil, []wire.Block{b}, math.MaxInt)
		if err != nil {
			t.Fatal(err)
		}
		var doc document
		if err := json.Unmarshal(body, &doc); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		valid := strings.ToValidUTF8(device, "\ufffd")
		for i, r := range decodeAll(t, []wire.Block{b}) {
			if r.Value.Kind() == reading.KindBytes && base64.StdEncoding.EncodeToString(doc.Readings[i].Bytes) != base64.StdEncoding.EncodeToString([]byte(text)) {
				t.Errorf("bytes %q, want %q", doc.Readings[i].Bytes, text)
			}
			if device == valid && doc.Readings[i].Device != device {
				t.Errorf("device %q, want %q", doc.Readings[i].Device, device)
			}
		}
	})
}
