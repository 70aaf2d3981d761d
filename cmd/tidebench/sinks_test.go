package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/daemon"
	"github.com/tidegate/tidegate/internal/servertest"
)

func TestEveryOutletIsConfiguredAsItShould(t *testing.T) {
	for _, o := range outlets() {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, guestFile), []byte("guest"), 0o600); err != nil {
			t.Fatal(err)
		}
		is := gatewayFor(o, dir)
		tables, err := is.tables("far://127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		config := filepath.Join(dir, "tidegate.toml")
		text := fmt.Sprintf(configuration, dir, is.memory, asConfigured, "127.0.0.1:0", is.clients, cmp.Or(is.kept, rawTopic), jsonTopic, tables, "127.0.0.1:0", "")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := daemon.Load(config); err != nil {
			t.Errorf("%s: %v", o.name, err)
		}
	}
}

func TestOutletsWithoutTheirServersAreLeftOut(t *testing.T) {
	for _, o := range present(real{"Redis": &servertest.Server{}}) {
		if o.server != "Redis" && o.server != "" && o.server != theCloud && o.server != theKafka {
			t.Errorf("%s is there, and %s is not", o.name, o.server)
		}
	}
	if n := len(present(real{})); n != 5 {
		t.Errorf("%d outlets need nothing that is installed, want 5", n)
	}
}

// TestABacklogLeaves through a door that counts bytes on the line, and through one
// that has no line.
func TestABacklogLeaves(t *testing.T) {
	b := testBench(t)
	full := shortDir(t, b)
	if err := b.fillFolder(t.Context(), filepath.Join(full, "read"), false); err != nil {
		t.Fatal(err)
	}
	for _, o := range present(real{}) {
		if o.name != "http, packed" && o.server != "" {
			continue
		}
		f, err := b.outletDrain(t.Context(), o, real{}, fullFolders(full)[false])
		if err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		if f.readings != 40_000 || f.bytes() < 0.1 || f.bytes() > 10 || f.took <= 0 || f.cpu <= 0 {
			t.Errorf("%s: %+v, %.2f bytes a reading", o.name, f, f.bytes())
		}
		if line := f.onTheLine(); math.IsNaN(line) != (o.server == "") || line < f.bytes() {
			t.Errorf("%s: %.2f bytes a reading with headers, %.2f without", o.name, line, f.bytes())
		}
	}
}

func TestPosterPostsEachReading(t *testing.T) {
	f, err := testBench(t).posted(t.Context(), 25, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Headers and a body of curl's up, an empty answer down; at least a segment each.
	if f.readings != 100 || f.bytes() < 200 || f.bytes() > 400 || f.load.segments < 200 {
		t.Errorf("%+v, %.0f bytes a reading", f, f.bytes())
	}
}

func TestRatiosAreBesideTheBridge(t *testing.T) {
	of := func(bytes int64, seconds float64) fare {
		return fare{readings: 100, load: load{bytes, 1}, took: time.Duration(seconds * 1e9), cpu: time.Duration(seconds * 1e9)}
	}
	// The machine was twice as slow in the second round and the third, for both.
	voyages := []voyage{
		{near: of(948, 1), drains: []fare{of(948, 1), of(948, 2), of(948, 2)}},
		{near: of(448, 1), drains: []fare{of(48, 0.5), of(48, 1), of(48, 1)}},
	}
	values := sinksTable([]sender{{name: bridgeName}, {name: "door"}}, voyages).Rows[1].Values
	for i, want := range map[int]float64{0: 4.48, 1: 5, 2: 0.5, 6: 0.48, 7: 1, 8: 0.1, 10: 2, 12: 0.5} {
		if math.Abs(values[i]-want) > 1e-9 {
			t.Errorf("column %d: %v, want %v", i+1, values[i], want)
		}
	}
	alone := sinksTable([]sender{{name: "door"}}, voyages[1:]).Rows[0].Values
	if !math.IsNaN(alone[2]) || !math.IsNaN(alone[12]) || alone[6] != 0.48 {
		t.Errorf("without a bridge: %v", alone)
	}
}

func TestWhatThereIsNotIsNoNumber(t *testing.T) {
	r := row{[]string{"file"}, []float64{1, math.NaN()}}
	text, err := json.Marshal(r)
	if err != nil || string(text) != `{"names":["file"],"values":[1,null]}` {
		t.Errorf("%s, %v", text, err)
	}
	var out strings.Builder
	table{Columns: []string{"a", "b", "c"}, Rows: []row{r}, Foot: []string{"a word"}}.write(&out)
	if !strings.Contains(out.String(), "file\t1\t–\n") || !strings.Contains(out.String(), "a word") {
		t.Errorf("%q", out.String())
	}
}

func TestUseOfTheLinkIsCountedFromBothBeginnings(t *testing.T) {
	at := time.Now()
	u := usage{began: at, settled: at.Add(10 * time.Second), ended: at.Add(20 * time.Second), whenSettled: 40_000, atEnd: 120_000}
	if all, later := u.share(), u.settledShare(); all != 0.75 || later != 1 {
		t.Errorf("%v of all, %v later; want 0.75 and 1", all, later)
	}
}
