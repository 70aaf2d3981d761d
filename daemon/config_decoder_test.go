package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/wire"
)

// What is wrong with a decoder is said at the key where it is wrong, and at no
// key that there is not.
func TestComplaintsOfDecodersStandAtTheirKeys(t *testing.T) {
	for _, c := range []struct{ kind, options, key string }{
		{"csv", `decimal_comma = true`, "delimiter"},
		{"csv", `header_units = true`, "header_lines"},
		{"csv", `header = "last"`, "header"},
		{"csv", `columns = [{name = "a", type = "time"}]`, "columns"},
		{"csv", `columns = [{name = "a"}, {name = "b", type = "what"}]`, "columns[1]"},
		{"csv", "header = \"first\"\ncolumns = [{name = \"a\"}, {name = \"a\"}]", "columns"},
		{"csv", "time_unit = \"s\"\ntime_format = \"2006-01-02\"", "time_unit"},
		{"csv", `time_format = "15:04"`, "time_format"},
		{"csv", `time_zone = "Atlantis"`, "time_zone"},
		{"csv", `max_readings = -1`, "max_readings"},
		{"keyvalue", "true = [\"x\"]\nfalse = [\"x\"]", "missing"},
		{"keyvalue", `key_separators = " "`, "key_separators"},
		{"keyvalue", `pair_separators = "x"`, "pair_separators"},
		{"keyvalue", `time_keys = [""]`, "time_keys"},
		{"keyvalue", "only_listed = true", "only_listed"},
		{"keyvalue", `columns = [{name = "a"}, {name = "a"}]`, "columns[1]"},
		{"regex", ``, "pattern"},
		{"regex", `pattern = "(x)"`, "pattern"},
		{"regex", "pattern = \"(?P<a>x)\"\ncolumns = [{name = \"b\"}]", "columns"},
		{"regex", "pattern = \"(?P<a>x)\"\ncolumns = [{name = \"a\"}, {name = \"a\", type = \"number\"}]", "columns"},
		{"nmea", `sentences = ["gga"]`, "sentences"},
		{"nmea", `prefix = "x"`, "prefix"},
		{"lineprotocol", `skip_tags = ["host"]`, "skip_tags"},
		{"lineprotocol", `metric = "x"`, "metric"},
		{"number", `type = "time"`, "type"},
		{"number", `type = "what"`, "type"},
		{"json", `fields = [{path = "a"}, {metric = "x"}]`, "fields[1]"},
		{"json", `fields = [{path = "a..b"}]`, "fields[0]"},
		{"json", `device_path = "x"`, "device_path"},
		{"json", `time_keys = [""]`, "time_keys"},
		{"json", `max_readings = 8001`, "max_readings"},
		{"json", `fields = [{path = "a", type = "hex", decode = "a"}]`, "fields[0]"}, // no decoder is in itself
		{"json", `fields = [{path = "a", type = "hex", decode = "nothing"}]`, "fields[0]"},
		{"senml-json", `split = "x"`, "split"},
		{"senml-cbor", `max_readings = -1`, "max_readings"},
		{"cbor", `max_readings = -1`, "max_readings"},
		{"cbor", `max_readings = 8001`, "max_readings"},
		{"cbor", `time_keys = [""]`, "time_keys"},
		{"lpp", `max_readings = -1`, "max_readings"},
		{"lpp", `types = [{id = 300, name = "x", type = "u8"}]`, "types[0]"},
		{"binary", `fields = [{name = "a", type = "u8"}, {name = "x", type = "u17"}]`, "fields[1]"},
		{"binary", ``, "fields"},
		{"binary", `rest = "x"`, "rest"},
		{"binary", "max_readings = -1\nfields = [{type = \"u8\"}]", "max_readings"},
	} {
		_, err := Parse("test.toml", []byte("[[decoder."+c.kind+"]]\nname = \"a\"\n"+c.options))
		var problems conf.Problems
		if !errors.As(err, &problems) || len(problems) != 1 {
			t.Errorf("%s, %s: %v", c.kind, c.options, err)
			continue
		}
		p := problems[0]
		if want := "decoder." + c.kind + "[0]." + c.key; p.Key != want || p.Hint == "" {
			t.Errorf("%s, %s: at %s: %s — hint: %s; want it at %s", c.kind, strings.ReplaceAll(c.options, "\n", ", "), p.Key, p.What, p.Hint, want)
		}
	}
}

// What a LoRaWAN device sends comes in JSON of its network, and is decoded there.
func TestFieldsOfJSONNameDecoders(t *testing.T) {
	text := `
[[decoder.json]]
name = "uplink"
device_path = "devEUI"
fields = [{path = "data", type = "base64", decode = "probe"}, {path = "line", decode = "keyvalue"}]
[[decoder.binary]]
name = "probe"
fields = [{name = "temp", type = "i16", scale = 0.1}]
`
	c, err := Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	rs, err := v.decoders["uplink"].Decode(nil, decode.Frame{Device: "lns", Payload: []byte(`{"devEUI":"a1","data":"ANc=","line":"hum=40"}`)})
	if err != nil || len(rs) != 2 || rs[0].Device != "a1" || rs[0].Metric != "temp" || rs[0].Value.Float() != 21.5 || rs[1].Metric != "hum" {
		t.Errorf("%+v, %v", rs, err)
	}
	// Of two that name each other, neither can be built.
	_, err = Parse("test.toml", []byte(strings.ReplaceAll(text, `"keyvalue"`, `"other"`)+`
[[decoder.json]]
name = "other"
fields = [{path = "x", decode = "uplink"}]
`))
	var problems conf.Problems
	if !errors.As(err, &problems) || len(problems) != 2 || problems[0].Key != "decoder.json[0].fields[1]" || problems[1].Key != "decoder.json[1].fields[0]" {
		t.Errorf("%v", err)
	}
}

// A device whose payload custody refuses sends it again for ever, so no decoder
// may be configured to give more than custody takes at once.
func TestNoDecoderMayGiveMoreThanCustodyTakes(t *testing.T) {
	c, err := Parse("test.toml", []byte("[[decoder.senml-json]]\nname = \"most\"\nsplit = \"none\"\nmax_readings = 8000"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := c.vocabulary()
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 256)
	payload := `[{"bn":"` + long[:255] + `","bu":"` + long + `","n":"n","v":1}` + strings.Repeat(`,{"n":"n","v":2}`, 7999) + "]"
	rs, err := v.decoders["most"].Decode(nil, decode.Frame{Device: "d", Payload: []byte(payload)})
	if err != nil || len(rs) != 8000 {
		t.Fatalf("%d readings, %v", len(rs), err)
	}
	buf, err := buffer.Open(buffer.Config{Dir: t.TempDir(), MaxBytes: buffer.MinBytes, Clock: buffer.Clock{
		Uptime: func() time.Duration { return time.Minute }, State: func() wire.ClockState { return wire.Unsynced },
	}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- buf.Run(ctx) }()
	if _, err := buf.Accept(t.Context(), rs); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
