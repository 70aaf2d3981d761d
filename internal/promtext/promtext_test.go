package promtext

import (
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostile is a page of everything that somebody may put into a name or a label.
func hostile() *Page {
	p := New()
	p.Gauge("readings", `those that "wait", c:\temp`+"\nand more", 12_431)
	p.Counter("acked", "taken", 3, "sink", "cloud")
	p.Counter("acked_total", "said differently", 4, "sink", "a\"b\\c\nd\r\x00é\xff")
	p.Counter("acked_total", "", 5, "sink", "cloud") // again
	p.Gauge("acked_total", "as a gauge", 6)          // no counter
	p.Gauge("1 bad näme", "mended", math.Inf(1), "böse", "x", "0", "y", "böse", "z", "empty", "")
	p.Gauge("", "", math.NaN(), "odd")
	p.Gauge("readings", "", math.Inf(-1), "lane", "alarm")
	return p
}

func TestAPageIsReadAsItWasMeant(t *testing.T) {
	p, err := parse(string(hostile().Text(nil)))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		`readings`:                 "12431",
		`readings,lane="alarm"`:    "-Inf",
		`acked_total,sink="cloud"`: "3",
		`acked_total,sink=` + fmt.Sprintf("%q", "a\"b\\c\nd\r\x00é\uFFFD"): "4",
		`__bad_n__me,_="y",b__se="x"`:                                      "+Inf",
		`_`:                                                                "NaN",
	}
	got := make(map[string]string)
	for key, value := range p.values {
		got[key] = fmt.Sprintf("%v", value)
	}
	if !maps.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if help := p.helps["readings"]; help != `those that "wait", c:\temp`+"\nand more" {
		t.Errorf("help is %q", help)
	}
	if !slices.Equal(p.order, []string{"readings", "acked_total", "__bad_n__me", "_"}) {
		t.Errorf("families are %q", p.order)
	}
}

func TestOpenMetricsNamesCountersWithoutTheirEnd(t *testing.T) {
	p := New()
	p.Counter("acked_total", `by "the" cloud`, 3, "sink", "cloud")
	p.Gauge("readings", "waiting", 0.5)
	const want = `# HELP acked by \"the\" cloud
# TYPE acked counter
acked_total{sink="cloud"} 3
# HELP readings waiting
# TYPE readings gauge
readings 0.5
# EOF
`
	if got := string(p.OpenMetrics(nil)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestPrometheusReadsIt asks Prometheus' own parser.
func TestPrometheusReadsIt(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool; apt-get install prometheus")
	}
	file := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(file, hostile().Text(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = in
	said, _ := check.CombinedOutput() // its advice on names is an error, too
	if strings.Contains(string(said), "error while linting") || strings.Contains(string(said), "parsing") {
		t.Errorf("promtool: %s", said)
	}
}

func FuzzWhateverIsGivenCanBeRead(f *testing.F) {
	f.Add("tidegate_up", "help", 1.0, "sink", "cloud", "lane", "alarm")
	f.Add("a b", "\\\n\"", math.Inf(-1), "a b", "\"\\\n", "a_b", "\xff")
	f.Add("", "", 0.0, "", "", "", "")
	f.Fuzz(func(t *testing.T, name, help string, value float64, l1, v1, l2, v2 string) {
		p := New()
		p.Gauge(name, help, value, l1, v1, l2, v2)
		p.Counter(name, help, value, l1, v1)
		p.Counter(name+"_total", help, value, l2, v2, l1)
		p.Gauge(name, help, value)
		text := p.Text(nil)
		if most := 8*(3*len(name)+2*len(help)+2*len(l1+v1+l2+v2)) + 1000; len(text) > most {
			t.Errorf("%d bytes, more than %d", len(text), most)
		}
		got, err := parse(string(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if len(got.values) == 0 {
			t.Error("nothing was written")
		}
		if !strings.HasSuffix(string(p.OpenMetrics(nil)), "# EOF\n") {
			t.Error("OpenMetrics does not end")
		}
	})
}
