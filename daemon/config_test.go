package daemon

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/tidegate/tidegate/internal/conf"
)

var update = flag.Bool("update", false, "write the *.bad.txt files anew")

func TestGoodConfigurationsAreTaken(t *testing.T) {
	for _, file := range glob(t, "*.good.toml") {
		if _, err := Load(file); err != nil {
			t.Errorf("%v", err)
		}
	}
}

// Each *.bad.toml has all its problems in the *.bad.txt beside it: no more, no
// less, each in its place.
func TestBadConfigurationsAreRefusedWithPlaceAndHint(t *testing.T) {
	files := glob(t, "*.bad.toml")
	if len(files) < 15 {
		t.Fatalf("only %d cases", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(filepath.Base(file), text)
		if err == nil {
			t.Errorf("%s: was taken", file)
			continue
		}
		got := err.Error() + "\n"
		golden := strings.TrimSuffix(file, ".toml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
		}
	}
}

func TestEveryProblemHasAPlaceAndAHint(t *testing.T) {
	for _, file := range glob(t, "*.bad.toml") {
		_, err := Load(file)
		var problems conf.Problems
		if !errors.As(err, &problems) {
			t.Fatalf("%s: %v is no conf.Problems", file, err)
		}
		for _, p := range problems {
			if p.Line == 0 || p.Column == 0 || p.Hint == "" || p.What == "" {
				t.Errorf("%s: %+v", file, p)
			}
		}
	}
}

func TestTheEmptyFileIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "\n# nothing\n", "\ufeff", "[gateway]\n[ingest]\n"} {
		c, err := Parse("empty", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(c, Default()) {
			t.Errorf("%q: %+v", text, c)
		}
	}
}

func TestTheDefaultIsValidAndListensOnLoopbackOnly(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{c.Ingest.MQTT.Listen, c.Dashboard.Listen} {
		if !strings.HasPrefix(listen, "127.0.0.1:") {
			t.Errorf("listens on %s", listen)
		}
	}
}

func TestTheExampleIsTheDefault(t *testing.T) {
	c, err := Parse("example.toml", []byte(ExampleConfig()))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("the example differs from the default:\n%+v\n%+v", c, Default())
	}
}

func TestTheExamplesOptionalTablesAreTheirDefaults(t *testing.T) {
	c, err := Parse("example.toml", []byte(uncommented()))
	if err != nil {
		t.Fatal(err)
	}
	var route Route
	route.SetDefaults()
	route.Topic = "site/{site}/dev/{device}/telemetry"
	if want := []Route{route}; !reflect.DeepEqual(c.Ingest.MQTT.Routes, want) {
		t.Errorf("route: %+v, want %+v", c.Ingest.MQTT.Routes, want)
	} else if !reflect.DeepEqual(c.Ingest.HTTP.Routes, want) {
		t.Errorf("route: %+v, want %+v", c.Ingest.HTTP.Routes, want)
	} else if !reflect.DeepEqual(c.Ingest.CoAP.Routes, want) {
		t.Errorf("route: %+v, want %+v", c.Ingest.CoAP.Routes, want)
	}
	if want := []Serial{exampleSerial()}; !reflect.DeepEqual(c.Ingest.Serial, want) {
		t.Errorf("serial: %+v, want %+v", c.Ingest.Serial, want)
	}
	var line Line
	line.SetDefaults()
	line.Name, line.Listen = "meters", "127.0.0.1:5170"
	if want := []Line{line}; !reflect.DeepEqual(c.Ingest.Line, want) {
		t.Errorf("line: %+v, want %+v", c.Ingest.Line, want)
	}
	var acl ACL
	acl.SetDefaults()
	acl.Publish, acl.Subscribe = []string{"dev/{user}/#"}, []string{"cmd/{user}/#"}
	if want := []ACL{acl}; !reflect.DeepEqual(c.Ingest.MQTT.ACL, want) {
		t.Errorf("acl: %+v, want %+v", c.Ingest.MQTT.ACL, want)
	}
	checkModbusExample(t, c)
	var lte Carrier
	lte.SetDefaults()
	lte.Name = "lte"
	if want := []Carrier{lte}; !reflect.DeepEqual(c.Link, want) {
		t.Errorf("link: %+v, want %+v", c.Link, want)
	}
	checkUplinkExamples(t, c.Uplink)
	var refined Refine
	refined.SetDefaults()
	refined.Name, refined.Metric, refined.Unit = "boiler", "temp*", "Cel"
	if want := []Refine{refined}; !reflect.DeepEqual(c.Refine, want) {
		t.Errorf("refine: %+v, want %+v", c.Refine, want)
	}
}

func TestTheExampleShowsEveryKeyOnceWithAComment(t *testing.T) {
	var shown []string
	table, commented := "", false
	key := regexp.MustCompile(`^([a-z0-9_]+) = `)
	for line := range strings.Lines(uncommented()) {
		line = strings.TrimSpace(line)
		switch match := key.FindStringSubmatch(line); {
		case strings.HasPrefix(line, "["):
			table = strings.Trim(line, "[]")
		case match != nil:
			shown = append(shown, strings.TrimPrefix(table+"."+match[1], "."))
			if !commented {
				t.Errorf("%s has no comment above it", shown[len(shown)-1])
			}
		}
		commented = strings.HasPrefix(line, "#")
	}
	// Of decoders it has an example each: their page has the rest.
	aDecoders := func(key string) bool { return strings.HasPrefix(key, "decoder.") }
	shown = slices.DeleteFunc(shown, aDecoders)
	fields := slices.DeleteFunc(keysOf("", reflect.TypeFor[Config]()), aDecoders)
	slices.Sort(shown)
	slices.Sort(fields)
	if !slices.Equal(shown, fields) {
		t.Errorf("the example shows\n%v\nthe configuration has\n%v", shown, fields)
	}
}

func TestTheDecodersPagesNameEveryKey(t *testing.T) {
	var pages []byte
	for _, page := range []string{"decoders.md", "decoders-binary.md"} {
		text, err := os.ReadFile("../docs/reference/" + page)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, text...)
	}
	for _, key := range keysOf("", reflect.TypeFor[Decoders]()) {
		last := key[strings.LastIndexByte(key, '.')+1:]
		if last != "name" && !regexp.MustCompile(`\b`+last+`\b`).Match(pages) {
			t.Errorf("no page says what `%s` is (%s)", last, key)
		}
	}
	for i := range reflect.TypeFor[Decoders]().NumField() {
		kind := reflect.TypeFor[Decoders]().Field(i).Tag.Get("toml")
		if !strings.Contains(ExampleConfig(), "[[decoder."+kind+"]]") {
			t.Errorf("the example has no decoder of kind %s", kind)
		}
	}
}

// uncommented returns the example with its optional tables taken in: "#key" is
// a key that is commented out, "##" its comment.
func uncommented() string {
	return regexp.MustCompile(`(?m)^#([^ \n])`).ReplaceAllString(ExampleConfig(), "$1")
}

// keysOf returns the dotted keys of all leaves of a struct type.
func keysOf(table string, t reflect.Type) []string {
	var keys []string
	for i := range t.NumField() {
		field := t.Field(i)
		if field.Anonymous {
			keys = append(keys, keysOf(table, field.Type)...)
			continue
		}
		path := strings.TrimPrefix(table+"."+field.Tag.Get("toml"), ".")
		inner := field.Type
		if inner.Kind() == reflect.Slice {
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct {
			keys = append(keys, keysOf(path, inner)...)
			continue
		}
		keys = append(keys, path)
	}
	return keys
}

// A shown configuration is a configuration.
func TestMarshalledConfigurationsParseToThemselves(t *testing.T) {
	for _, file := range glob(t, "*.good.toml") {
		c, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		text, err := toml.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("marshalled", text)
		if err != nil || !reflect.DeepEqual(again, c) {
			t.Errorf("%s: %v\n%s", file, err, text)
		}
	}
}

func TestMissingFileIsTold(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "tidegate.toml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTheProfileSetsWhatIsNotSaid(t *testing.T) {
	for _, c := range []struct {
		text  string
		flash int64
		delay time.Duration
	}{
		{`profile = "speed"`, 0, 0},
		{`profile = "balanced"`, 4e9, 250 * time.Millisecond},
		{`profile = "gentle"`, 1e9, time.Second},
		{"profile = \"gentle\"\nflash_budget = \"\"\nmax_ack_delay = \"\"", 1e9, time.Second},
		{"profile = \"gentle\"\nmax_ack_delay = \"0s\"", 1e9, 0},
		{"flash_budget = \"100MB\"", 1e8, 250 * time.Millisecond},
	} {
		parsed, err := Parse("profile", []byte("[buffer]\n"+c.text))
		if err != nil {
			t.Fatal(err)
		}
		if b := parsed.Buffer; b.DailyFlash() != c.flash || b.AckDelay() != c.delay {
			t.Errorf("%s: %d bytes a day, %v", c.text, b.DailyFlash(), b.AckDelay())
		}
	}
}

func TestSocketHasADefault(t *testing.T) {
	if got := Default().Gateway.SocketPath(); got != "/var/lib/tidegate/admin.sock" {
		t.Errorf("socket: %s", got)
	}
}

func FuzzParseNeverPanicsAndExplainsItself(f *testing.F) {
	for _, pattern := range []string{"*.good.toml", "*.bad.toml"} {
		for _, file := range glob(f, pattern) {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte(ExampleConfig()))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz", text)
		if err == nil {
			if err := c.Validate(); err != nil {
				t.Fatalf("Parse took what Validate refuses: %v", err)
			}
			return
		}
		var problems conf.Problems
		if !errors.As(err, &problems) || len(problems) == 0 {
			t.Fatalf("%T: %v", err, err)
		}
		lines := strings.Count(string(text), "\n") + 1
		for _, p := range problems {
			if p.Line > lines || p.What == "" {
				t.Fatalf("%+v in %d lines", p, lines)
			}
		}
	})
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "config", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", pattern, files, err)
	}
	return files
}
