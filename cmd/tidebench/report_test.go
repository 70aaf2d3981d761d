package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestBarsHoldOnTheirSide(t *testing.T) {
	for _, c := range []struct {
		bar   bar
		value float64
		holds bool
	}{
		{least(10), 10, true}, {least(10), 9.99, false},
		{most(10), 10, true}, {most(10), 10.01, false},
		{noBar(), 1e9, true},
	} {
		if c.bar.holds(c.value) != c.holds {
			t.Errorf("%v with %v holds: %v", c.bar, c.value, !c.holds)
		}
	}
}

func TestMissedBarsAreShownAndCounted(t *testing.T) {
	r := newReport()
	r.add("drain", "fast enough", 2, "s", most(3))
	r.add("drain", "too slow", 4.5, "s", most(3))
	r.add("drain", "only told", 7, "s", noBar())
	r.add("rss", "of another cell", 999, "MiB", most(1))
	var out strings.Builder
	r.writeCell(&out, "drain")

	for _, want := range []string{"too slow     4.5 s     <= 3  ✗", "fast enough  2 s       <= 3  ✓"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "another cell") {
		t.Errorf("another cell's figure in\n%s", out.String())
	}
	if r.missed() != 2 {
		t.Errorf("%d missed, want 2", r.missed())
	}
}

func TestSavedReportHoldsEveryFigure(t *testing.T) {
	r := newReport()
	r.add("e2e", "p50", 1.5, "ms", most(5))
	r.Tables = append(r.Tables, table{Cell: "ingest", Columns: []string{"system", "messages/s"}, Rows: []row{{[]string{"plain"}, []float64{3}}}})
	path := filepath.Join(t.TempDir(), "figures.json")
	if err := r.save(path); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Figures) != 1 || got.Figures[0] != r.Figures[0] || len(got.Tables) != 1 || got.Tables[0].Rows[0].Values[0] != 3 {
		t.Errorf("saved %+v, read %+v", r, got)
	}
}

func TestRatioIsTakenRoundByRound(t *testing.T) {
	// The machine was three times as fast in the second round, for both.
	who := []rate{{perSecond: 200}, {perSecond: 600}, {perSecond: 210}}
	via := []rate{{perSecond: 100}, {perSecond: 300}, {perSecond: 100}}
	if got := ratio(who, via); got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
}

func TestQuantileIsReached(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(100-i))
	}
	if p50, p99, p100 := quantile(all, 0.5), quantile(all, 0.99), quantile(all, 1); p50 != 51 || p99 != 100 || p100 != 100 {
		t.Errorf("p50 %d p99 %d p100 %d", p50, p99, p100)
	}
	if none := quantile(nil, 0.5); none != 0 {
		t.Errorf("of nothing: %d", none)
	}
}

func TestChooseKnowsEveryCell(t *testing.T) {
	all, err := choose("")
	if err != nil || len(all) != len(cells()) {
		t.Fatalf("%d cells, %v", len(all), err)
	}
	some, err := choose("drain,wire")
	if err != nil || len(some) != 2 || some[0].name != "drain" || some[1].name != "wire" {
		t.Fatalf("%v, %v", some, err)
	}
	if _, err := choose("drain,tide"); err == nil || !strings.Contains(err.Error(), `"tide"`) {
		t.Errorf("a cell that is none: %v", err)
	}
}

func TestEveryPairingIsMeasured(t *testing.T) {
	names := map[string]bool{}
	for _, c := range contenders() {
		names[c.name] = true
	}
	for _, quick := range []bool{true, false} {
		sizes := map[size]bool{}
		for _, s := range ingestSizes(&bench{quick: quick}) {
			sizes[s] = true
		}
		for _, p := range pairings() {
			if !names[p.who] || !names[p.via] || !sizes[p.size] {
				t.Errorf("quick=%v: %+v is measured by nobody", quick, p)
			}
		}
	}
}

func TestNumbersAreForPeople(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
	for v, want := range map[float64]string{0.3808: "0.381", 99.94: "99.9", 975611.2: "975611"} {
		if got := short(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
