package daemon

import (
	"maps"
	"math"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/promtext"
)

// figures fills a value with numbers that are all different.
type figures struct {
	next  uint64
	names map[uint64]string
}

// times are fields in Unix milliseconds; metrics are in seconds.
var timeField = regexp.MustCompile(`(Started|Now|ClockSince|ClockSet.Last|Booted|BrokeAt|Ends|OldestUnsent|Since|LastAck|LastFrame|TroubleAt|LastAnswer|LastAt|Renews|Lasts|Window|Drained|NotBefore|NotAfter)$`)

func (f *figures) fill(path string, v reflect.Value) {
	number := func() uint64 {
		f.next += 1000
		f.names[f.next] = path
		return f.next
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(path, v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		f.fill(path, v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]uint64{"no answer": number()}))
	case reflect.String:
		v.SetString(path)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(number()))
	case reflect.Uint64:
		v.SetUint(number())
	}
}

// statusPage turns a status into a page without anything else that metrics tell.
func statusPage(s dashboard.Status) string {
	m := &metrics{Page: promtext.New(), growth: &growth{seen: make(map[string]grown)}}
	m.gateway(s)
	m.buffer(s.Buffer, s.Now)
	for _, l := range s.Links {
		m.uplink(l, s.Now)
	}
	for _, n := range s.Network {
		m.network(n)
	}
	for _, d := range s.Doors {
		m.door(d)
	}
	m.refined(s.Refined)
	m.commands(s.Commands)
	m.access(s.Access)
	m.certificates(s.Certificates)
	return string(m.Text(nil))
}

func TestEveryNumberOfTheStatusIsAMetric(t *testing.T) {
	f := figures{names: map[uint64]string{}}
	var s dashboard.Status
	f.fill("Status", reflect.ValueOf(&s).Elem())
	s.Now = int64(f.next) + 5_000_000
	s.Buffer.OldestUnsent = s.Now - 4_242_000
	text := statusPage(s)
	shown := map[float64]bool{}
	for line := range strings.Lines(text) {
		if at := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
			if err != nil {
				t.Fatal(err)
			}
			shown[value] = true
		}
	}
	for n, name := range f.names {
		want := float64(n)
		switch {
		case name == "Status.Buffer.OldestUnsent":
			want = 4242 // an age
		case name == "Status.Links.Oldest":
			want = float64(s.Now-int64(n)) / 1000 // as well
		case name == "Status.Buffer.Evicted":
			continue // is in LostBy
		case name == "Status.Now":
			want = float64(s.Now) / 1000
		case strings.HasPrefix(name, "Status.Buffer.Losses."):
			continue // counted by reason; single losses are for people
		case name == "Status.Doors.Slaves.Unit":
			continue // a label
		case timeField.MatchString(name):
			want /= 1000
		}
		if !shown[want] {
			t.Errorf("%s is no metric (%v)", name, want)
		}
	}
	if len(f.names) < 100 {
		t.Errorf("only %d numbers were looked for", len(f.names))
	}
}

func TestCountersNeverGoBackwards(t *testing.T) {
	g := growth{seen: make(map[string]grown)}
	for i, c := range []struct{ value, want float64 }{
		{5, 5}, {9, 9}, {9, 9},
		{2, 9}, {3, 10}, // a door that was made anew
		{0, 10}, {0, 10}, {7, 17},
	} {
		if got := g.up("readings", c.value); got != c.want {
			t.Errorf("%d: %v, want %v", i, got, c.want)
		}
	}
	if got := g.up("other", 1); got != 1 {
		t.Errorf("another counter begins at %v", got)
	}
}

// sampleLine is a sample: name, labels, value.
var sampleLine = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)

// exposition is what a page tells: labels by metric, and every sample.
type exposition struct {
	labels  map[string][]string // of a metric, sorted; nil for an announced one
	samples map[string]float64
	kinds   map[string]string
}

func readExposition(t *testing.T, text string) exposition {
	t.Helper()
	e := exposition{labels: map[string][]string{}, samples: map[string]float64{}, kinds: map[string]string{}}
	label := regexp.MustCompile(`([a-z_]+)="(?:[^"\\]|\\.)*"`)
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if name, kind, ok := strings.Cut(strings.TrimPrefix(line, "# TYPE "), " "); ok && strings.HasPrefix(line, "# TYPE ") {
			e.kinds[name] = kind
			e.labels[name] = nil
			continue
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("no sample: %q", line)
		}
		var names []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			names = append(names, l[1])
		}
		slices.Sort(names)
		if before := e.labels[m[1]]; before != nil && !slices.Equal(before, names) {
			t.Errorf("%s has labels %q and %q", m[1], before, names)
		}
		e.labels[m[1]] = names
		value, err := strconv.ParseFloat(m[3], 64)
		if err != nil || math.IsNaN(value) {
			t.Errorf("%q: %v", line, err)
		}
		e.samples[m[1]+"{"+m[2]+"}"] = value
	}
	return e
}

// documented reads the tables of docs/reference/metrics.md: name, kind, labels.
func documented(t *testing.T) map[string][2]string {
	t.Helper()
	text, err := os.ReadFile("../docs/reference/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (gauge|counter) \\| ([^|]*) \\|")
	all := map[string][2]string{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		if _, twice := all[m[1]]; twice {
			t.Errorf("%s is documented twice", m[1])
		}
		labels := regexp.MustCompile("`([a-z_]+)`").FindAllStringSubmatch(m[3], -1)
		var names []string
		for _, l := range labels {
			names = append(names, l[1])
		}
		slices.Sort(names)
		all[m[1]] = [2]string{m[2], strings.Join(names, " ")}
	}
	return all
}

// compareWithDocs compares what a daemon with everything in it exposes with the
// page that lists it, in both directions.
func compareWithDocs(t *testing.T, e exposition) {
	t.Helper()
	docs := documented(t)
	for _, name := range slices.Sorted(maps.Keys(e.kinds)) {
		doc, ok := docs[name]
		switch {
		case !ok:
			t.Errorf("docs/reference/metrics.md does not list %s (%s, labels %q)", name, e.kinds[name], e.labels[name])
		case doc[0] != e.kinds[name]:
			t.Errorf("%s is a %s, and documented as a %s", name, e.kinds[name], doc[0])
		case e.labels[name] != nil && doc[1] != strings.Join(e.labels[name], " "):
			t.Errorf("%s has the labels %q, and documented are %q", name, e.labels[name], doc[1])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		if e.kinds[name] == "" {
			t.Errorf("docs/reference/metrics.md lists %s, which a daemon with everything in it does not expose", name)
		}
	}
}

func BenchmarkScrape(b *testing.B) {
	f := figures{names: map[uint64]string{}}
	var s dashboard.Status
	f.fill("Status", reflect.ValueOf(&s).Elem())
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(statusPage(s))))
	}
}
