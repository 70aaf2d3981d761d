package decode

import (
	"bytes"
	"encoding/csv"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidegate/tidegate/reading"
)

// textSeeds adds the payloads of the golden cases of a decoder.
func textSeeds(f *testing.F, decoder string) {
	files, err := filepath.Glob("testdata/" + decoder + "-*/in*")
	if err != nil || len(files) == 0 {
		f.Fatalf("no cases of %s: %v", decoder, err)
	}
	for i, file := range files {
		payload, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(payload, uint8(i))
	}
}

// must returns a decoder for a test.
func must[D Decoder](t testing.TB, d D, err error) D {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const fuzzReadings = 64

// checkText decodes a payload and checks what holds for every decoder of
// texts, besides what decodeWarily checks.
func checkText(t *testing.T, d Decoder, payload []byte) ([]reading.Reading, error) {
	t.Helper()
	f := Frame{Topic: "a/b", Device: "dev", Metric: "temp", Payload: payload, Memory: make(mapMemory)}
	rs, err := decodeWarily(t, d, f)
	if len(rs) > fuzzReadings {
		t.Fatalf("%d readings", len(rs))
	}
	for _, r := range rs {
		switch {
		case r.Metric == "" || len(r.Metric) > maxName || !utf8.ValidString(r.Metric),
			r.Device == "" || len(r.Device) > maxName || !utf8.ValidString(r.Device),
			len(r.Unit) > maxName || !utf8.ValidString(r.Unit),
			!utf8.ValidString(r.Value.Text()) || r.Value.Kind() == reading.KindBytes,
			r.Time != 0 && !plausible(r.Time):
			t.Fatalf("%+v", r)
		}
	}
	again, err2 := decodeWarily(t, d, f)
	if golden(rs, err) != golden(again, err2) {
		t.Fatalf("decoded twice: %s, then %s", golden(rs, err), golden(again, err2))
	}
	return rs, err
}

func FuzzCSV(f *testing.F) {
	textSeeds(f, "csv")
	bounded := TextConfig{MaxReadings: fuzzReadings}
	loose := bounded
	loose.Units, loose.DecimalComma, loose.True = true, true, []string{"auf"}
	configs := []CSVConfig{
		{TextConfig: bounded},
		{TextConfig: loose, Delimiter: ";", Comment: "#", Header: "auto", HeaderUnits: true},
		{TextConfig: loose, Delimiter: " ", Header: "first", HeaderLines: 3, Ragged: true},
		{TextConfig: bounded, Delimiter: "||", SkipLines: 1, Columns: []Column{{Name: "at", Type: "time"}, {Name: "of", Type: "metric"}, {Name: "v"}, {Name: "u", Type: "unit"}}},
		{TextConfig: bounded, Header: "first", Columns: []Column{{Name: "id", Type: "device"}, {Name: "n", Type: "number"}, {Name: "b", Type: "bool"}}},
	}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewCSV(configs[int(which)%len(configs)])
		checkText(t, must(t, d, err), payload)
	})
}

// FuzzCSVAgreesWithEncodingCSV compares what is in the cells, as far as both
// want to mean the same: blanks and line ends of old systems are out of it.
func FuzzCSVAgreesWithEncodingCSV(f *testing.F) {
	f.Add("a,b\nc,\"d\"\"e\"\n")
	f.Add("\"a\nb\",c\r\n\n,d")
	columns := []Column{{Name: "0", Type: "text"}, {Name: "1", Type: "text"}}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, " \t\v\f\x00") || strings.Count(text, "\r") > strings.Count(text, "\r\n") ||
			strings.Contains(text, "\ufeff") || !utf8.ValidString(text) || strings.Contains(text, "\r\n") && strings.Contains(text, "\"") {
			return
		}
		reader := csv.NewReader(strings.NewReader(text))
		reader.FieldsPerRecord = 2
		records, err := reader.ReadAll()
		if err != nil || len(records) > 32 {
			return
		}
		var want []string
		for _, record := range records {
			for i, cell := range record {
				if cell != "" {
					want = append(want, columns[i].Name+cell)
				}
			}
		}
		d, err := NewCSV(CSVConfig{Columns: columns})
		rs, err := must(t, d, err).Decode(nil, Frame{Payload: []byte(text)})
		if err != nil && len(want) > 0 {
			t.Fatalf("%q: %v", text, err)
		}
		var got []string
		for _, r := range rs {
			if r.Value.Text() != "" {
				got = append(got, r.Metric+r.Value.Text())
			}
		}
		if strings.Join(got, "\x00") != strings.Join(want, "\x00") {
			t.Fatalf("%q: got %q, want %q", text, got, want)
		}
	})
}

func FuzzKeyValue(f *testing.F) {
	textSeeds(f, "keyvalue")
	bounded := TextConfig{MaxReadings: fuzzReadings}
	loose := bounded
	loose.Units, loose.DecimalComma = true, true
	configs := []KeyValueConfig{
		{TextConfig: bounded},
		{TextConfig: loose, SkipWords: true, Columns: []Column{{Name: "id", Type: "device"}, {Name: "u", Type: "unit"}}},
		{TextConfig: bounded, PairSeparators: ";", KeySeparators: "=", Columns: []Column{{Name: "at", Type: "time"}, {Name: "t", Metric: "temp", Type: "number"}}},
	}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewKeyValue(configs[int(which)%len(configs)])
		checkText(t, must(t, d, err), payload)
	})
}

// FuzzKeyValueTakesWhatWasPut writes a pair and reads it back.
func FuzzKeyValueTakesWhatWasPut(f *testing.F) {
	f.Add("name", `say "hi" \ there`)
	d, err := NewKeyValue(KeyValueConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key, text string) {
		if key == "" || strings.ContainsAny(key, " \t\r\n\v\f,;&=:\x00") || len(key) > maxName || !utf8.ValidString(key) || !utf8.ValidString(text) || text == "" {
			return
		}
		if d.meaning([]byte(text)) == meansMissing || d.keys.find([]byte(key)).role == timeField {
			return
		}
		payload := key + `="` + strings.NewReplacer(`"`, `\"`, `\`, `\\`).Replace(text) + `" ok=true`
		rs, err := d.Decode(nil, Frame{Payload: []byte(payload)})
		if err != nil || len(rs) != 2 || rs[0].Metric != key || rs[0].Value != reading.String(text) || rs[1].Metric != "ok" {
			t.Fatalf("%q: %v, %v", payload, rs, err)
		}
	})
}

func FuzzRegex(f *testing.F) {
	textSeeds(f, "regex")
	bounded := TextConfig{MaxReadings: fuzzReadings, Units: true}
	configs := []RegexConfig{
		{TextConfig: bounded, Pattern: `(?P<time>\S+ \S+)? *(?P<device>[a-z]+\d): (?P<metric>\w+) (?P<value>\S+)(?: (?P<unit>\S+))?`},
		{TextConfig: bounded, Pattern: `(?s)(?P<a>.)(?P<b>.*)`, Repeat: true},
		{TextConfig: bounded, Pattern: `(?P<metric>[^= ]+)=(?P<value>[^ ]*)`, Repeat: true},
	}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewRegex(configs[int(which)%len(configs)])
		checkText(t, must(t, d, err), payload)
	})
}

func FuzzNumberPayload(f *testing.F) {
	textSeeds(f, "number")
	configs := []NumberConfig{{}, {DecimalComma: true, Units: true}, {Type: "number"}, {Type: "bool"}, {Type: "text"}}
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewNumber(configs[int(which)%len(configs)])
		rs, err := checkText(t, must(t, d, err), payload)
		if err == nil && len(rs) != 1 {
			t.Fatal(rs)
		}
	})
}

// FuzzPattern compiles whatever comes: nothing that was accepted may panic or
// break its bounds.
func FuzzPattern(f *testing.F) {
	f.Add(`(?P<a>\d+)`, "12")
	f.Add(`(?P<time>.)(?P<v>(?:x{2}){3})`, "xxxxxxx")
	f.Fuzz(func(t *testing.T, pattern, payload string) {
		d, err := NewRegex(RegexConfig{Pattern: pattern, Repeat: len(payload)%2 == 0, TextConfig: TextConfig{MaxReadings: fuzzReadings}})
		if err != nil {
			if d != nil {
				t.Fatal("a decoder and an error")
			}
			return
		}
		checkText(t, d, []byte(payload))
	})
}

// FuzzTimeFormat checks that a format that was accepted reads back what it
// writes, to the day.
func FuzzTimeFormat(f *testing.F) {
	f.Add("%Y-%m-%d %H:%M:%S", "2023-11-14 22:13:20")
	f.Add("Jan 2 2006 3:04PM", "Nov 14 2023 10:13PM")
	f.Add("%d.%m.%y %I:%M %p", "14.11.23 10:13 PM")
	f.Fuzz(func(t *testing.T, format, text string) {
		r, err := newTimeReader(TextConfig{TimeFormat: format})
		if err != nil {
			return
		}
		if ns, ok := r.read([]byte(text)); ok && ns != 0 && !plausible(ns) {
			t.Fatalf("%q by %q: %d", text, format, ns)
		}
	})
}

func FuzzJSONTemplate(f *testing.F) {
	textSeeds(f, "json")
	bounded := JSONConfig{MaxReadings: fuzzReadings}
	configs := []JSONTemplateConfig{
		{JSONConfig: bounded, Fields: []JSONField{{Path: "{device}[*].values", TimePath: "{device}[*].ts"}}},
		{JSONConfig: bounded, DevicePath: "id", Fields: []JSONField{{Path: "payload.sensors[*].t", MetricPath: "payload.sensors[*].n", UnitPath: "payload.sensors[*].u"}, {Path: "a", Type: "number"}, {Path: "b", Type: "bool"}}},
		{JSONConfig: bounded, Units: true, Fields: []JSONField{{Path: "{metric}.{metric}", Type: "text"}, {Path: "*.*.*", Type: ""}}},
		{JSONConfig: JSONConfig{MaxReadings: fuzzReadings, DeviceKeys: []string{"id"}, NumberStrings: true}},
		{JSONConfig: bounded, DevicePath: "id", TimePath: "ts", Fields: []JSONField{{Path: "*", Type: "base64", Decode: "lpp"}, {Path: "*.{metric}", Type: "hex", Decode: "lpp"}, {Path: "a", Decode: "keyvalue"}, {Path: "b", Type: "hex"}}},
	}
	lpp, err := NewLPP(LPPConfig{})
	must(f, lpp, err)
	pairs, err := NewKeyValue(KeyValueConfig{})
	must(f, pairs, err)
	inner := map[string]Decoder{"lpp": lpp, "keyvalue": pairs}
	f.Add([]byte(`{"id":"d","ts":1700000000,"data":"A2cBEAVnAP8=","b":{"c":"03670110"},"a":"t=1 h=2"}`), uint8(4))
	f.Fuzz(func(t *testing.T, payload []byte, which uint8) {
		d, err := NewJSONTemplate(configs[int(which)%len(configs)], inner)
		must(t, d, err)
		f := Frame{Device: "dev", Payload: payload}
		rs, err := decodeWarily(t, d, f)
		if len(rs) > fuzzReadings {
			t.Fatalf("%d readings", len(rs))
		}
		for _, r := range rs {
			if r.Device == "" || len(r.Device) > maxName || len(r.Metric) > maxName || !utf8.ValidString(r.Metric+r.Device+r.Unit+r.Value.Text()) || r.Time != 0 && !plausible(r.Time) {
				t.Fatalf("%+v", r)
			}
		}
	})
}

// FuzzTemplateOfEverything checks that a template that leads to everything
// reads what no template reads, and refuses what that refuses.
func FuzzTemplateOfEverything(f *testing.F) {
	textSeeds(f, "json")
	all, err := NewJSONTemplate(JSONTemplateConfig{Fields: []JSONField{{Path: "$"}}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	plain := NewJSON(JSONConfig{})
	f.Fuzz(func(t *testing.T, payload []byte, _ uint8) {
		if !bytes.HasPrefix(bytes.TrimLeft(payload, " \t\r\n"), []byte("{")) {
			return // a payload without names is called otherwise
		}
		f := Frame{Device: "dev", Payload: payload}
		got, gotErr := decodeWarily(t, all, f)
		want, wantErr := decodeWarily(t, plain, f)
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && golden(got, nil) != golden(want, nil) {
			t.Fatalf("%s, without template %s", golden(got, gotErr), golden(want, wantErr))
		}
	})
}
