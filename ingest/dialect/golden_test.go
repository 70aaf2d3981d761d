package dialect

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/decode"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

var update = flag.Bool("update", false, "write testdata/*/want.txt anew")

// arrival is when everything arrives here.
var arrival = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// gateway is an intake behind the topics of all dialects.
type gateway struct {
	testing.TB
	custody *ingesttest.Custody
	intake  *ingest.Intake
	table   *route.Table
}

func newGateway(t testing.TB, custody *ingesttest.Custody) *gateway {
	t.Helper()
	memory := ingest.NewMemory()
	if err := memory.Load(t.Context(), custody); err != nil {
		t.Fatal(err)
	}
	var rules []route.Rule
	for _, d := range Known() {
		decoder := d.New()
		for _, topic := range d.Topics {
			rules = append(rules, route.Rule{Topic: topic, Decoder: decoder, KeepOpaque: true})
		}
	}
	table, err := route.NewTable(rules, decode.NewJSON(decode.JSONConfig{}))
	if err != nil {
		t.Fatal(err)
	}
	in := ingest.NewIntake(custody, nil, func() time.Time { return arrival }).WithMemory(memory)
	return &gateway{t, custody, in, table}
}

// publish takes a payload in, as a door does, and returns its readings.
func (g *gateway) publish(topic string, payload []byte) ([]reading.Reading, error) {
	g.Helper()
	target, ok := g.table.Resolve(topic)
	if !ok {
		g.Fatalf("%q is reserved", topic)
	}
	rs, fate, err := target.Read(nil, payload, route.Arrival{Intake: g.intake, Now: g.intake.Now()})
	if (err != nil) != (fate == route.Opaque) {
		g.Errorf("%s: fate %d with error %v", topic, fate, err)
	}
	if len(rs) > 0 || g.intake.Owes() {
		if _, err := g.intake.Accept(g.Context(), rs); err != nil {
			g.Fatal(err)
		}
	}
	return rs, err
}

// TestGoldenConversations publishes the messages of testdata/<case>/frames.txt one after
// the other, a topic, a tab and a payload a line, and compares what comes of
// each, and what is remembered in the end, with want.txt. A payload may be in
// hexadecimal behind "hex:", or the JSON of a Sparkplug message behind
// "sparkplug:"; see encoder_test.go. Lines that begin with # say where an
// example is from.
func TestGoldenConversations(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/frames.txt")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			got := conversation(t, file)
			want := filepath.Join(dir, "want.txt")
			if *update {
				if err := os.WriteFile(want, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			wanted, err := os.ReadFile(want)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(wanted) {
				t.Errorf("got\n%swant\n%s", got, wanted)
			}
		})
	}
}

func conversation(t *testing.T, file string) string {
	t.Helper()
	custody := ingesttest.NewCustody()
	custody.CommitAtOnce()
	g := newGateway(t, custody)
	var b strings.Builder
	for _, f := range readFrames(t, file) {
		rs, err := g.publish(f.topic, f.payload)
		fmt.Fprintf(&b, "%s\n", f.topic)
		if err != nil {
			fmt.Fprintf(&b, "\terror: %v\n", err)
		}
		for _, r := range rs {
			fmt.Fprintf(&b, "\t%s\n", line(r))
		}
	}
	b.WriteString("remembered\n")
	for _, key := range slices.Sorted(maps.Keys(custody.Noted())) {
		fmt.Fprintf(&b, "\t%s = %s\n", strings.ReplaceAll(key, "\x00", " "), noted(custody.Noted()[key]))
	}
	return b.String()
}

func line(r reading.Reading) string {
	kind := [reading.Kinds]string{"float", "int", "bool", "string", "bytes"}[r.Value.Kind()]
	out := fmt.Sprintf("%s | %s | %s %q", r.Device, r.Metric, kind, r.Value)
	if r.Unit != "" {
		out += " " + r.Unit
	}
	if r.Flags&reading.Stamped == 0 {
		out += " at " + time.Unix(0, r.Time).UTC().Format(time.RFC3339Nano)
	}
	if r.Flags&reading.Historical != 0 {
		out += " historical"
	}
	if q := r.Flags.Quality(); q != 0 {
		out += fmt.Sprintf(" quality %d", q)
	}
	if r.Lane != reading.Normal {
		out += " " + r.Lane.String()
	}
	return out
}

func noted(value []byte) string {
	b := parseBirth(value)
	if b == nil {
		return fmt.Sprintf("%q", value)
	}
	out := fmt.Sprintf("birth, session %d:", b.session)
	for _, m := range b.metrics {
		alias := "-"
		if m.hasAlias {
			alias = fmt.Sprint(m.alias)
		}
		out += fmt.Sprintf(" %s=%q/%d", alias, m.name, m.typ)
		if m.unit != "" {
			out += "/" + m.unit
		}
	}
	return out
}

type frame struct {
	topic   string
	payload []byte
}

func readFrames(t testing.TB, file string) (frames []frame) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSuffix(l, "\n")
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		topic, payload, _ := strings.Cut(l, "\t")
		f := frame{topic, []byte(payload)}
		if digits, ok := strings.CutPrefix(payload, "hex:"); ok {
			if f.payload, err = hex.DecodeString(digits); err != nil {
				t.Fatal(err)
			}
		} else if text, ok := strings.CutPrefix(payload, "sparkplug:"); ok {
			f.payload = encodeSparkplug(t, text)
		}
		frames = append(frames, f)
	}
	return frames
}

// Whoever publishes keeps his buffer.
func TestReadingsAndMemoryDoNotShareThePayload(t *testing.T) {
	cases, err := filepath.Glob("testdata/*/frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range cases {
		custody := ingesttest.NewCustody()
		custody.CommitAtOnce()
		g := newGateway(t, custody)
		var got, want []string
		for _, f := range readFrames(t, file) {
			before := bytes.Clone(f.payload)
			rs, _ := g.publish(f.topic, f.payload)
			for _, r := range rs {
				want = append(want, line(r))
			}
			if !bytes.Equal(before, f.payload) {
				t.Errorf("%s: the payload was changed", file)
			}
			clear(f.payload)
			for _, r := range rs {
				got = append(got, line(r))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: readings changed with the payload:\n%v\n%v", file, got, want)
		}
	}
}
