package daemon

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var updateDevices = flag.Bool("update-devices", false, "write testdata/devices/*/want.txt anew")

const devicesPage = "../docs/connect/devices.md"

// tomlOf returns what a page shows as configuration.
func tomlOf(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks strings.Builder
	in := false
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "```"):
			in = strings.TrimSpace(line) == "```toml"
		case in:
			blocks.WriteString(line)
		}
	}
	return blocks.String()
}

// TestDevicesAreReadAsTheirPageSays lets "tidegate test" read what real devices
// send, with the configuration that docs/connect/devices.md shows. A case is a
// folder testdata/devices/<case> with
//
//	args.txt   the call's flags
//	in.*       what the device sends, byte for byte; in.hex in hexadecimal
//	want.txt   the readings, one a line
func TestDevicesAreReadAsTheirPageSays(t *testing.T) {
	config := filepath.Join(t.TempDir(), "devices.toml")
	if err := os.WriteFile(config, []byte(tomlOf(t, devicesPage)), 0o600); err != nil {
		t.Fatal(err)
	}
	cases, err := filepath.Glob("testdata/devices/*/args.txt")
	if err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := deviceCase(t, config, dir)
			file := filepath.Join(dir, "want.txt")
			if *updateDevices {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// deviceCase returns what want.txt should say.
func deviceCase(t *testing.T, config, dir string) string {
	t.Helper()
	args, err := os.ReadFile(filepath.Join(dir, "args.txt"))
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := filepath.Glob(filepath.Join(dir, "in.*"))
	if err != nil || len(inputs) != 1 {
		t.Fatalf("%v, %v", inputs, err)
	}
	if filepath.Ext(inputs[0]) == ".hex" {
		inputs[0] = unhexedFile(t, inputs[0])
	}
	call := append([]string{"test", "-config", config, "-json"}, strings.Fields(string(args))...)
	var out, said bytes.Buffer
	if code := Main(append(call, inputs[0]), &out, &said); code == exitUsage || said.Len() > 0 {
		t.Fatalf("%v ended with %d: %s", call, code, &said)
	}
	return shortened(t, out.Bytes())
}

func unhexedFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	plain := filepath.Join(t.TempDir(), "in.bin")
	if err := os.WriteFile(plain, payload, 0o600); err != nil {
		t.Fatal(err)
	}
	return plain
}

// shortened makes a line a reading of what "tidegate test -json" prints.
func shortened(t *testing.T, text []byte) string {
	t.Helper()
	var printed struct {
		Payloads []struct {
			Error, Hint string
			Readings    []map[string]any
		}
	}
	numbers := json.NewDecoder(bytes.NewReader(text))
	numbers.UseNumber()
	if err := numbers.Decode(&printed); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var b strings.Builder
	for _, p := range printed.Payloads {
		if p.Error != "" {
			fmt.Fprintf(&b, "kept whole: %s — hint: %s\n", p.Error, p.Hint)
			continue
		}
		for _, r := range p.Readings {
			var value any
			for _, kind := range []string{"value", "float", "int", "bool", "string", "bytes"} {
				if v, ok := r[kind]; ok {
					value = v
				}
			}
			at := "-"
			if ns, _ := cmp.Or(r["time"], any(json.Number("0"))).(json.Number).Int64(); ns != 0 {
				at = time.Unix(0, ns).UTC().Format(time.RFC3339Nano)
			}
			fmt.Fprintf(&b, "%v %v %v %v", r["device"], r["metric"], value, at)
			if unit, ok := r["unit"]; ok {
				fmt.Fprintf(&b, " %v", unit)
			}
			if r["quality"] != "good" {
				fmt.Fprintf(&b, " (%v)", r["quality"])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// Every decoder that the page shows is run on something.
func TestEveryDecoderOfTheDevicesPageHasACase(t *testing.T) {
	c, err := Parse(devicesPage, []byte(tomlOf(t, devicesPage)))
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, r := range c.Ingest.MQTT.Routes {
		used[r.Decode] = true
	}
	for _, r := range c.Ingest.HTTP.Routes {
		used[r.Decode] = true
	}
	for _, s := range c.Ingest.Serial {
		used[s.Decode] = true
	}
	for _, d := range c.Decoder.JSON {
		for _, f := range d.Fields {
			used[f.Decode] = true
		}
	}
	calls, err := filepath.Glob("testdata/devices/*/args.txt")
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, file := range calls {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		said += " " + string(text)
	}
	words := strings.Fields(said)
	for i, word := range words[:len(words)-1] {
		if word == "-decode" {
			used[words[i+1]] = true
		}
	}
	for _, d := range c.Decoder.all() {
		if !used[d.name] {
			t.Errorf("no case has anything for %q to decode", d.name)
		}
	}
}
