package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/reading"
)

var updatePlan = flag.Bool("update-plan", false, "write the examples of docs/operate/sizing.md anew")

// TestExamplesOfSizingAreWhatIsPrinted runs them, with the document's configuration.
func TestExamplesOfSizingAreWhatIsPrinted(t *testing.T) {
	document, err := filepath.Abs("../docs/operate/sizing.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	parts := strings.Split(string(text), "```")
	ran := 0
	const elsewhere = "[gateway]\ndata_dir = \"nowhere\"\n" // what this machine has is not to be seen
	write := func(name, config string) {
		if err := os.WriteFile(name, []byte(elsewhere+config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("none.toml", "")
	for i, part := range parts {
		if config, ok := strings.CutPrefix(part, "toml\n"); ok {
			write("site.toml", config)
		}
		line, printed, _ := strings.Cut(strings.TrimPrefix(part, "\n"), "\n")
		args, ok := strings.CutPrefix(line, "$ tidegate ")
		if i%2 == 0 || !ok {
			continue
		}
		if !strings.Contains(args, "-config") {
			args += " -config none.toml"
		}
		var out bytes.Buffer
		if code := Main(strings.Fields(args), &out, &out); code != exitOK {
			t.Errorf("%s: exit %d, %s", line, code, out.String())
		}
		ran++
		if *updatePlan {
			parts[i] = "\n" + line + "\n" + out.String()
		} else if out.String() != printed {
			t.Errorf("%s prints\n%s\nand the document says\n%s", line, out.String(), printed)
		}
	}
	if ran < 3 {
		t.Errorf("%d examples", ran)
	}
	if *updatePlan {
		if err := os.WriteFile(document, []byte(strings.Join(parts, "```")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// planOf runs "tidegate plan -json" and returns what it says.
func planOf(t *testing.T, config string, args ...string) (p plan) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "tidegate.toml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main(append([]string{"plan", "-json", "-config", file}, args...), &out, &errs); code != exitOK {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	if err := json.Unmarshal(out.Bytes(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// onFlash commits batches of readings to a buffer in the folder, and returns what they
// take there.
func onFlash(t *testing.T, dir string, batches ...[]reading.Reading) (bytes int64) {
	t.Helper()
	cfg := Default()
	cfg.Gateway.DataDir = dir
	b, err := buffer.Open(bufferConfig(cfg), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	for _, some := range batches {
		receipt, err := b.Accept(ctx, some)
		if err == nil {
			err = receipt.Wait(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	bytes = b.Stats().HeldBytes
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return bytes
}

// everySecond returns n readings of a device, one a second from a time on.
func everySecond(device string, began, n int64) (some []reading.Reading) {
	for s := range n {
		some = append(some, reading.Reading{Device: device, Metric: "temp", Time: (began + s) * int64(time.Second), Value: reading.Float(float64(s / 60))})
	}
	return some
}

// TestPlanObservesWhatIsOnFlash writes two hours of readings and looks at them.
func TestPlanObservesWhatIsOnFlash(t *testing.T) {
	dir := t.TempDir()
	const n, began = 7200, int64(1_800_000_000)
	held := float64(onFlash(t, dir, slices.Collect(slices.Chunk(everySecond("boiler", began, n), 60))...)) / n
	p := planOf(t, "[gateway]\ndata_dir = "+strconv.Quote(dir)+"\n", "-outage", "30d")
	if p.Readings < 0.99 || p.Readings > 1.01 || p.Fresh < held*0.9 || p.Fresh > held*1.1 {
		t.Errorf("%v a second of %v bytes, want 1 of %v", p.Readings, p.Fresh, held)
	}
	if want := float64(p.MaxBytes-8<<20) / p.Fresh; p.Holds < want*0.95 || p.Holds > want*1.05 {
		t.Errorf("it lasts for %v s, want %v", p.Holds, want)
	}
	if p.Needs < 32<<20 || p.Room == 0 || len(p.Flash) != 0 || !strings.Contains(p.Verdict, "30 days fits") {
		t.Errorf("%+v", p)
	}
}

// TestAWrongClockDoesNotMakeTheRate: one reading whose time is years ago came between
// others, or a device of two is in another year all the time.
func TestAWrongClockDoesNotMakeTheRate(t *testing.T) {
	const began = int64(1_800_000_000)
	for name, c := range map[string]struct {
		batches [][]reading.Reading
		rate    float64
		note    string
	}{
		"one reading":  {[][]reading.Reading{everySecond("a", began, 1500), everySecond("b", 1_600_000_000, 1)}, 1, "less than 1 % of the readings"},
		"in one block": {[][]reading.Reading{append(everySecond("a", began, 1500), everySecond("b", 1_600_000_000, 1)...)}, 1, "less than 1 % of the readings"},
		"in future":    {[][]reading.Reading{everySecond("a", began, 1500), everySecond("b", 4_000_000_000, 1)}, 1, "less than 1 % of the readings"},
		"one device":   {[][]reading.Reading{everySecond("a", began, 1500), everySecond("b", 1000, 1400)}, 2, "% of the readings"},
	} {
		dir := t.TempDir()
		onFlash(t, dir, c.batches...)
		p := planOf(t, "[gateway]\ndata_dir = "+strconv.Quote(dir)+"\n")
		if p.Readings < c.rate*0.9 || p.Readings > c.rate*1.1 || !strings.Contains(strings.Join(p.Notes, "\n"), c.note) {
			t.Errorf("%s: %v readings a second, want %v; %q", name, p.Readings, c.rate, p.Notes)
		}
	}
}

// TestNoRateWhereClocksAgreeOnNothing: neither a wrong one nor one that nobody can check.
func TestNoRateWhereClocksAgreeOnNothing(t *testing.T) {
	dir := t.TempDir()
	onFlash(t, dir, everySecond("a", 1_800_000_000, 1000), everySecond("b", 1_600_000_000, 1000), everySecond("c", 1000, 1000))
	file := filepath.Join(t.TempDir(), "tidegate.toml")
	if err := os.WriteFile(file, []byte("[gateway]\ndata_dir = "+strconv.Quote(dir)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if code := Main([]string{"plan", "-config", file}, &out, &errs); code != exitFailure || !strings.Contains(errs.String(), "lie too far apart") || out.Len() > 0 {
		t.Errorf("exit %d: %s%s", code, out.String(), errs.String())
	}
}

// TestASampleHasItsEnds: a rate is taken from the oldest and the newest.
func TestASampleHasItsEnds(t *testing.T) {
	all := make([]int, 1000)
	for i := range all {
		all[i] = i
	}
	if got := spread(all, 4); !slices.Equal(got, []int{0, 333, 666, 999}) {
		t.Error(got)
	}
	if got := spread(all[:3], 4); !slices.Equal(got, []int{0, 1, 2}) {
		t.Error(got)
	}
}

func TestPlanTakesWearAndLinksFromARunningGateway(t *testing.T) {
	cfg, err := Parse("test", []byte("[[uplink.http]]\nname = \"cloud\"\nurl = \"https://example.com/\"\nlinks = [\"lte\"]\n[[link]]\nname = \"lte\"\nbudget_day = \"1MB\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	var p plan
	p.running(cfg, dashboard.Status{
		Buffer: dashboard.Buffer{FlashWritten: 5e8, Commits: 43200, Profile: "gentle"}, Links: []dashboard.Link{{Name: "cloud", SentBytes: 2e6}, {Name: "gone", SentBytes: 1}},
	}, 0.5)
	if len(p.Flash) != 1 || p.Flash[0].Low != 1e9 || p.Flash[0].Commits != 1 {
		t.Errorf("flash: %+v", p.Flash)
	}
	if len(p.Uplinks) != 1 || p.Uplinks[0].Day != 4e6 || p.Uplinks[0].over() != 4 {
		t.Errorf("uplinks: %+v", p.Uplinks)
	}
}

func TestPlanSaysWhatFollows(t *testing.T) {
	const config = "[gateway]\ndata_dir = \"/nowhere\"\n[buffer]\nmax_bytes = \"64MiB\"\n[buffer.normal]\nmax_age = \"1h\"\n"
	p := planOf(t, config, "-readings", "3000/min", "-devices", "10", "-outage", "60d", "-endurance", "10TB")
	if p.Readings != 50 || p.Holds > p.Outage || !strings.Contains(p.Verdict, "does not fit") || !strings.Contains(strings.Join(p.Notes, "\n"), "max_age drops") {
		t.Errorf("%+v", p)
	}
	again := planOf(t, strings.Replace(config, "64MiB", conf64(p.Needs), 1), "-readings", "50/s", "-devices", "10", "-outage", "60d")
	if again.Holds < again.Outage {
		t.Errorf("what it said to set lasts for %v of %v s", again.Holds, again.Outage)
	}
	for i, w := range p.Flash {
		if w.Low <= 0 || w.High < w.Low || w.Worst <= 0 || w.Best < w.Worst || w.Now != (w.Profile == "balanced") {
			t.Errorf("%+v", w)
		}
		if i > 0 && w.High > p.Flash[i-1].High {
			t.Errorf("%s writes more than %s", w.Profile, p.Flash[i-1].Profile)
		}
	}
}

// conf64 is a size as the configuration writes it.
func conf64(n int64) string { return strings.TrimSuffix(sizeText(float64(n)), ".0MiB") + "MiB" }

func TestCallsOfPlanThatMakeNoSense(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tidegate.toml")
	if err := os.WriteFile(file, []byte("[gateway]\ndata_dir = "+strconv.Quote(dir)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"-readings 20":                 "20/s",
		"-readings x/s":                "20/s",
		"-readings -1/s":               "20/s",
		"-readings NaN/s":              "20/s",
		"-readings 20/s -devices 0":    "from 1",
		"-devices 5":                   "add for example -readings",
		"-readings 20/s sauce":         "not expected",
		"-outage 7":                    "no unit",
		"-endurance 30":                "no unit",
		"-readings 1e9/s":              "20/s",
		"-readings 20/s -outage 300d5": "not a duration",
	} {
		var out bytes.Buffer
		if code := Main(append([]string{"plan", "-config", file}, strings.Fields(args)...), &out, &out); code != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%s: exit %d, %q, want %q in it", args, code, out.String(), want)
		}
	}
	var out bytes.Buffer
	if code := Main([]string{"plan", "-config", file}, &out, &out); code != exitFailure || !strings.Contains(out.String(), "hint") {
		t.Errorf("nothing to observe: exit %d, %q", code, out.String())
	}
}

// TestPlansOfExtremesReadWell states loads at both ends.
func TestPlansOfExtremesReadWell(t *testing.T) {
	config := filepath.Join(t.TempDir(), "c.toml")
	writeFile(t, config, "[gateway]\ndata_dir = \"nowhere\"\n")
	for args, want := range map[string][]string{
		"-readings 1/h -metrics 1":               {"lasts for 100 years or more: 123 bytes a reading, 0.36 after merging", "1 reading an hour from"},
		"-readings 1/d -metrics 1 -outage 30s":   {"An outage of 30 seconds fits", "1 reading a day from"},
		"-readings 1/d -outage 40000d":           {"An outage of 100 years or more fits"},
		"-readings 1e7/s -devices 1000000":       {"MEMORY  34.2GiB", "the unit allows the process 256MiB of memory"},
		"-readings 20/s -devices 50 -outage 36h": {"An outage of 36 hours fits"},
	} {
		var out bytes.Buffer
		if code := Main(append([]string{"plan", "-config", config}, strings.Fields(args)...), &out, &out); code != exitOK {
			t.Fatalf("%s: %s", args, &out)
		}
		for _, want := range want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", args, want, &out)
			}
		}
		for _, never := range []string{"e+", "e-", "or more or more", " 0 minutes", "1 readings"} {
			if strings.Contains(out.String(), never) {
				t.Errorf("%s: %q in\n%s", args, never, &out)
			}
		}
	}
}

func TestUnitAllowsTheMemoryThatAPlanTells(t *testing.T) {
	if unit := readFile(t, "../systemd/tidegate.service"); !strings.Contains(unit, "\nMemoryMax=256M\n") || unitMemory != 256<<20 {
		t.Error("systemd/tidegate.service says another MemoryMax=")
	}
}
