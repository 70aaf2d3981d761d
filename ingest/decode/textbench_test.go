package decode

import (
	"encoding/csv"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/tidegate/tidegate/reading"
)

// textBenchmark is a payload as devices send it. The baseline does what
// somebody would write who needs the same numbers; it names no readings.
type textBenchmark struct {
	decoder  Decoder
	frame    Frame
	values   int
	allocs   int // that a payload may cost
	baseline func(payload []byte) (values int)
}

const (
	benchCSV     = "1700000000,21.37,48.2,3.71,-67\n1700000060,21.41,48.1,3.71,-66\n"
	benchPairs   = "ts=1700000000 temp=21.37 hum=48.2 bat=3.71 rssi=-67"
	benchSpoken  = "2023-11-14 22:13:20 boiler-3: temp 21.37 C, hum 48.2 %, bat 3.71 V"
	benchPattern = `^(?P<time>\S+ \S+) (?P<device>\S+): temp (?P<temp>\S+) C, hum (?P<hum>\S+) %, bat (?P<bat>\S+) V$`
	benchRMC     = "$GNRMC,001031.00,A,4404.13993,N,12118.86023,W,0.146,231.8,100117,,,A*5D\r\n"
	benchLines   = "weather,host=gw-7,location=us temperature=82,humidity=71,pressure=1013.2 1465839830100400200\nweather,host=gw-7,location=eu temperature=20.5,humidity=48,pressure=1009i 1465839830100400200\n"
	benchUplink  = `{"deviceInfo":{"devEui":"0101010101010101","deviceName":"dev"},"time":"2022-07-18T09:34:15.775Z","fCnt":17,"object":{"temp":21.37,"hum":48.2,"bat":3.71},"rxInfo":[{"gatewayId":"0016c001f153a14c","rssi":-36,"snr":10.5}]}`
)

func textBenchmarks(t testing.TB) map[string]textBenchmark {
	t.Helper()
	columns := []Column{{Name: "at", Type: "time"}, {Name: "temp", Unit: "Cel"}, {Name: "hum"}, {Name: "bat"}, {Name: "rssi"}}
	rows, err := NewCSV(CSVConfig{Columns: columns})
	must(t, rows, err)
	commas, err := NewCSV(CSVConfig{Columns: columns, Delimiter: ";", TextConfig: TextConfig{DecimalComma: true}})
	must(t, commas, err)
	headed, err := NewCSV(CSVConfig{Header: "first"})
	must(t, headed, err)
	pairs, err := NewKeyValue(KeyValueConfig{})
	must(t, pairs, err)
	regex, err := NewRegex(RegexConfig{Pattern: benchPattern})
	must(t, regex, err)
	nmea, err := NewNMEA(NMEAConfig{})
	must(t, nmea, err)
	lines, err := NewLineProtocol(LineProtocolConfig{})
	must(t, lines, err)
	number, err := NewNumber(NumberConfig{Units: true})
	must(t, number, err)
	template, err := NewJSONTemplate(JSONTemplateConfig{
		DevicePath: "deviceInfo.devEui", TimePath: "time",
		Fields: []JSONField{{Path: "object"}, {Path: "rxInfo[0].rssi", Unit: "dBm"}},
	}, nil)
	must(t, template, err)
	frame := func(payload string) Frame { return Frame{Device: "boiler-3", Payload: []byte(payload)} }
	return map[string]textBenchmark{
		"csv":               {rows, frame(benchCSV), 8, 0, readCSV(',')},
		"csv-header":        {headed, frame("time,temp,hum,bat,rssi\n" + benchCSV), 8, 0, readCSV(',')},
		"csv-decimal-comma": {commas, frame(strings.NewReplacer(",", ";", ".", ",").Replace(benchCSV)), 8, 0, readCSV(';')},
		"keyvalue":          {pairs, frame(benchPairs), 4, 0, readPairs},
		"regex":             {regex, frame(benchSpoken), 3, 1, readPattern()},
		"nmea":              {nmea, frame(benchRMC), 5, 0, readSentence},
		"lineprotocol":      {lines, frame(benchLines), 6, 0, readLines},
		"number":            {number, frame("21.37 C"), 1, 0, readNumber},
		"json-template":     {template, frame(benchUplink), 4, 0, readUplink},
	}
}

// BenchmarkText measures each decoder beside its baseline.
func BenchmarkText(b *testing.B) {
	for name, c := range textBenchmarks(b) {
		b.Run(name+"/tidegate", func(b *testing.B) {
			var rs []reading.Reading
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if rs, err = c.decoder.Decode(rs[:0], c.frame); err != nil || len(rs) != c.values {
					b.Fatal(rs, err)
				}
			}
			b.ReportMetric(float64(c.values)*float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
		b.Run(name+"/baseline", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if n := c.baseline(c.frame.Payload); n < c.values {
					b.Fatal(n)
				}
			}
			b.ReportMetric(float64(c.values)*float64(b.N)/b.Elapsed().Seconds(), "values/s")
		})
	}
}

// readCSV is encoding/csv and strconv.
func readCSV(comma rune) func([]byte) int {
	return func(payload []byte) (values int) {
		reader := csv.NewReader(strings.NewReader(string(payload)))
		reader.Comma, reader.ReuseRecord = comma, true
		for {
			record, err := reader.Read()
			if err != nil {
				return values
			}
			for _, cell := range record {
				if comma == ';' {
					cell = strings.Replace(cell, ",", ".", 1)
				}
				if _, err := strconv.ParseFloat(cell, 64); err == nil {
					values++
				}
			}
		}
	}
}

// readPairs is strings.Fields, strings.Cut and strconv.
func readPairs(payload []byte) (values int) {
	for _, word := range strings.Fields(string(payload)) {
		_, text, _ := strings.Cut(word, "=")
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			values++
		}
	}
	return values
}

// readPattern is regexp alone: nobody has made numbers of what it found.
func readPattern() func([]byte) int {
	pattern := regexp.MustCompile(benchPattern)
	return func(payload []byte) int { return len(pattern.FindSubmatch(payload)) - 1 }
}

// readSentence is strings.Split and strconv, without looking at the checksum.
func readSentence(payload []byte) (values int) {
	for _, field := range strings.Split(string(payload), ",") {
		if _, err := strconv.ParseFloat(field, 64); err == nil {
			values++
		}
	}
	return values
}

// readLines is the library of those who made the format.
func readLines(payload []byte) (values int) {
	d := lineprotocol.NewDecoderWithBytes(payload)
	for d.Next() {
		if _, err := d.Measurement(); err != nil {
			return 0
		}
		for {
			if key, _, err := d.NextTag(); err != nil || key == nil {
				break
			}
		}
		for {
			key, _, err := d.NextField()
			if err != nil || key == nil {
				break
			}
			values++
		}
		if _, err := d.TimeBytes(); err != nil {
			return 0
		}
	}
	return values
}

func readNumber(payload []byte) int {
	for _, word := range strings.Fields(string(payload)) {
		if _, err := strconv.ParseFloat(word, 64); err == nil {
			return 1
		}
	}
	return 0
}

// readUplink is encoding/json with a struct that has just the fields that are
// wanted.
func readUplink(payload []byte) int {
	var uplink struct {
		DeviceInfo struct{ DevEui string }
		Time       string
		Object     map[string]any
		RxInfo     []struct{ Rssi float64 }
	}
	if json.Unmarshal(payload, &uplink) != nil {
		return 0
	}
	return len(uplink.Object) + len(uplink.RxInfo)
}
