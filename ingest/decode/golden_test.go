package decode

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/tidegate/tidegate/reading"
)

var update = flag.Bool("update", false, "write testdata/*/want.txt anew")

// makers are the decoders that a case can name, each made from its options.
var makers = map[string]func(options map[string]any) (Decoder, error){
	"json": configured(newTemplate),
	"raw":  sure(func(struct{}) Raw { return Raw{} }),

	"cbor":       configured(NewCBOR),
	"senml-json": configured(NewSenMLJSON),
	"senml-cbor": configured(NewSenMLCBOR),
	"lpp":        configured(NewLPP),
	"binary":     configured(NewBinary),

	"csv":          configured(NewCSV),
	"keyvalue":     configured(NewKeyValue),
	"lineprotocol": configured(NewLineProtocol),
	"nmea":         configured(NewNMEA),
	"number":       configured(NewNumber),
	"regex":        configured(NewRegex),
}

// withOthers is a template with the decoders that its fields name.
type withOthers struct {
	JSONTemplateConfig
	Inner map[string]BinaryConfig `toml:"inner"`
}

func newTemplate(cfg withOthers) (*JSON, error) {
	inner := map[string]Decoder{}
	for name, layout := range cfg.Inner {
		d, err := NewBinary(layout)
		if err != nil {
			return nil, err
		}
		inner[name] = d
	}
	for kind, d := range map[string]func(map[string]any) (Decoder, error){
		"csv": configured(NewCSV), "nmea": configured(NewNMEA), "senml-cbor": configured(NewSenMLCBOR), "lpp": configured(NewLPP),
	} {
		inner[kind], _ = d(nil)
	}
	return NewJSONTemplate(cfg.JSONTemplateConfig, inner)
}

// TestGoldenPayloads decodes the payloads of each folder testdata/<case> and
// compares the readings, one a line, or the error with want.txt. A case has
//
//	in.json, in.txt, in.bin   the payload, byte for byte
//	in.hex                    the same in hexadecimal; spaces and what stands
//	                          behind # are left out
//	in-1.…, in-2.…            several payloads, in the order of their names,
//	                          which share one decoder and one Memory
//	opts.toml                 the decoder and its options; without it, JSON with
//	                          the defaults
//
// and opts.toml holds, all of it optional:
//
//	decoder = "csv"
//	topic = "…"               of the Frame; the device is "dev" if nothing is said
//	device = "…"
//	metric = "…"
//	now = 2026-01-02T03:04:05Z  when the payloads arrive; nobody knows without it
//	[options]                 the decoder's configuration: time_unit is TimeUnit
//	[options.inner.NAME]      a binary layout that fields of JSON may name
//	[frame.in-2]              topic, device and metric of one payload
//
// Options that the decoder refuses are an error as well: the case needs no
// payload then.
func TestGoldenPayloads(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/want.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"testdata/*/in*", "testdata/*/opts.toml"} { // cases without want.txt, too
		more, _ := filepath.Glob(pattern)
		cases = append(cases, more...)
	}
	for i, file := range cases {
		cases[i] = filepath.Dir(file)
	}
	slices.Sort(cases)
	cases = slices.Compact(cases)
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, dir := range cases {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := goldenCase(t, dir)
			file := filepath.Join(dir, "want.txt")
			if *update {
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

// goldenOptions is opts.toml.
type goldenOptions struct {
	Decoder string
	goldenFrame
	Now     time.Time
	Options map[string]any
	Frame   map[string]goldenFrame // by the name of the payload's file
}

type goldenFrame struct{ Topic, Device, Metric string }

// over returns f with what is not said in it taken from other.
func (f goldenFrame) over(other goldenFrame) goldenFrame {
	for _, s := range []struct {
		own   *string
		other string
	}{{&f.Topic, other.Topic}, {&f.Device, other.Device}, {&f.Metric, other.Metric}} {
		if *s.own == "" {
			*s.own = s.other
		}
	}
	return f
}

// goldenCase returns what want.txt should say.
func goldenCase(t *testing.T, dir string) string {
	t.Helper()
	opts := goldenOptionsOf(t, dir)
	if makers[opts.Decoder] == nil {
		t.Fatalf("there is no decoder %q", opts.Decoder)
	}
	d, err := makers[opts.Decoder](opts.Options)
	if err != nil {
		return "refused: " + err.Error() + "\n"
	}
	files, err := filepath.Glob(filepath.Join(dir, "in*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no payload: %v", err)
	}
	var out strings.Builder
	memory := make(mapMemory)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
		frame := opts.Frame[name].over(opts.goldenFrame).over(goldenFrame{Device: "dev"})
		if len(files) > 1 {
			fmt.Fprintf(&out, "-- %s\n", name)
		}
		f := Frame{Topic: frame.Topic, Device: frame.Device, Metric: frame.Metric, Payload: payloadOf(t, file), Memory: memory}
		if !opts.Now.IsZero() {
			f.Now = opts.Now.UnixNano()
		}
		out.WriteString(golden(decodeWarily(t, d, f)))
	}
	return out.String()
}

func goldenOptionsOf(t *testing.T, dir string) goldenOptions {
	t.Helper()
	opts := goldenOptions{Decoder: "json"}
	text, err := os.ReadFile(filepath.Join(dir, "opts.toml"))
	if errors.Is(err, os.ErrNotExist) {
		return opts
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&opts); err != nil {
		t.Fatalf("opts.toml: %v", err)
	}
	return opts
}

// payloadOf reads a payload, which is in hexadecimal if its file says so.
func payloadOf(t *testing.T, file string) []byte {
	t.Helper()
	payload, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(file) != ".hex" {
		return payload
	}
	payload, err = unhexed(string(payload))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return payload
}

// unhexed reads hexadecimal without spaces and what stands behind #.
func unhexed(text string) ([]byte, error) {
	var digits strings.Builder
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, word := range strings.Fields(line) {
			digits.WriteString(word)
		}
	}
	return hex.DecodeString(digits.String())
}

// configured makes a decoder whose configuration may be refused.
func configured[C any, D Decoder](make func(C) (D, error)) func(map[string]any) (Decoder, error) {
	return func(options map[string]any) (Decoder, error) {
		var cfg C
		text, err := toml.Marshal(options)
		if err != nil {
			return nil, err
		}
		if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(&cfg); err != nil {
			var strict *toml.StrictMissingError
			if errors.As(err, &strict) {
				err = errors.New(strict.String())
			}
			panic(fmt.Sprintf("options of a case: %v", err))
		}
		d, err := make(cfg)
		if err != nil {
			return nil, err // and no Decoder that is a nil pointer
		}
		return d, nil
	}
}

// sure is configured for decoders that refuse no configuration.
func sure[C any, D Decoder](make func(C) D) func(map[string]any) (Decoder, error) {
	return configured(func(cfg C) (D, error) { return make(cfg), nil })
}

// mapMemory is a Memory for one goroutine.
type mapMemory map[string][]byte

func (m mapMemory) Recall(key string) []byte { return m[key] }

func (m mapMemory) Remember(key string, value []byte) {
	if value == nil {
		delete(m, key)
		return
	}
	m[key] = value
}

func (m mapMemory) Units(topic string) map[string]string {
	units := make(map[string]string)
	for key, unit := range m {
		if metric, ok := strings.CutPrefix(key, "unit/"+topic+"\x00"); ok {
			units[metric] = string(unit)
		}
	}
	return units
}

func (m mapMemory) RememberUnit(topic, metric, unit string) {
	m.Remember("unit/"+topic+"\x00"+metric, []byte(unit))
}

// decodeWarily decodes f and checks what every decoder promises: the payload is
// not changed and shares no memory with readings, errors wrap ErrMalformed, and
// what was in dst stays there.
func decodeWarily(t *testing.T, d Decoder, f Frame) ([]reading.Reading, error) {
	t.Helper()
	own := bytes.Clone(f.Payload)
	f.Payload = bytes.Clone(f.Payload)
	first := reading.Reading{Metric: "was here before"}
	rs, err := d.Decode(append(make([]reading.Reading, 0, 4), first), f)
	if !bytes.Equal(own, f.Payload) {
		t.Fatal("the payload was changed")
	}
	if len(rs) == 0 || rs[0] != first {
		t.Fatalf("dst became %v", rs)
	}
	rs = rs[1:]
	if err != nil && (!errors.Is(err, ErrMalformed) || len(rs) > 0) {
		t.Fatalf("%v with %d readings", err, len(rs))
	}
	before := golden(rs, err)
	for i := range f.Payload {
		f.Payload[i] ^= 0xff
	}
	if after := golden(rs, err); before != after {
		t.Fatalf("the readings changed with the payload: %s, then %s", before, after)
	}
	return rs, err
}

// golden writes readings one a line: device, metric, kind, value and time, and
// unit and flags where there are any.
func golden(rs []reading.Reading, err error) string {
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	if len(rs) == 0 {
		return "no readings\n"
	}
	kinds := [reading.Kinds]string{"float", "int", "bool", "string", "bytes"}
	var b strings.Builder
	for _, r := range rs {
		at := "-"
		if r.Time != 0 {
			at = time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano)
		}
		fmt.Fprintf(&b, "%s %s %s %q %s", r.Device, r.Metric, kinds[r.Value.Kind()], r.Value, at)
		if r.Unit != "" {
			fmt.Fprintf(&b, " unit=%s", r.Unit)
		}
		if r.Flags != 0 {
			fmt.Fprintf(&b, " flags=%08b", r.Flags)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// goldenPayloads returns the payloads of a decoder's cases, one after the other.
func goldenPayloads(t *testing.T, decoder string) string {
	t.Helper()
	files, err := filepath.Glob("testdata/" + decoder + "-*/in*")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases of %s: %v", decoder, err)
	}
	var all strings.Builder
	for _, file := range files {
		all.Write(payloadOf(t, file))
	}
	return all.String()
}
