package hostin

import (
	"flag"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tidegate/tidegate/reading"
)

var update = flag.Bool("update", false, "write what is read into testdata")

// TestMachines looks twice, ten seconds apart, at the machines of testdata. The
// files of later/ replace those of the first look.
func TestMachines(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal(cases, err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			m := machineOf(archive)
			s := New(m.config())
			now := time.Unix(1e9, 0)
			m.compare(t, archive, "want", s.look(now))
			for path, file := range m.later {
				m.roots[path] = file
			}
			m.compare(t, archive, "want later", s.look(now.Add(10*time.Second)))
			if *update {
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// machine is /proc and /sys, one below the other.
type machine struct{ roots, later fstest.MapFS }

func machineOf(archive *txtar.Archive) machine {
	m := machine{fstest.MapFS{}, fstest.MapFS{}}
	for _, f := range archive.Files {
		file := &fstest.MapFile{Data: f.Data}
		if name, later := strings.CutPrefix(f.Name, "later/"); later {
			m.later[name] = file
		} else if strings.Contains(f.Name, "/") {
			m.roots[f.Name] = file
		}
	}
	return m
}

func (m machine) config() Config {
	proc, _ := m.roots.Sub("proc") // valid
	sys, _ := m.roots.Sub("sys")
	return Config{Device: "gateway", Proc: proc, Sys: sys, Disk: func() (free, size uint64, err error) { return 8e9, 32e9, nil }}
}

func (m machine) compare(t *testing.T, archive *txtar.Archive, name string, rs []reading.Reading) {
	t.Helper()
	got := ""
	for _, r := range rs {
		if r.Device != "gateway" || r.Time != 0 {
			t.Errorf("%+v", r)
		}
		if x, ok := r.Value.Number(); ok && r.Value.Kind() != reading.KindBool {
			got += strings.TrimSpace(fmt.Sprintf("%s %.10v %s", r.Metric, x, r.Unit)) + "\n"
		} else {
			got += strings.TrimSpace(fmt.Sprintf("%s %v %s", r.Metric, r.Value, r.Unit)) + "\n"
		}
	}
	for i, f := range archive.Files {
		if f.Name != name {
			continue
		}
		if *update {
			archive.Files[i].Data = []byte(got)
		} else if string(f.Data) != got {
			t.Errorf("%s: got\n%swant\n%s", name, got, f.Data)
		}
	}
}

func TestThisMachineTellsOfItself(t *testing.T) {
	if _, err := os.Stat("/proc/uptime"); err != nil {
		t.Skip(err)
	}
	s := New(Config{Device: "here"})
	told := make(map[string]bool)
	for _, r := range s.look(time.Now()) {
		told[r.Metric] = true
	}
	for _, metric := range []string{"cpu.load", "memory.available", "uptime"} {
		if !told[metric] {
			t.Errorf("%s is not told: %v", metric, told)
		}
	}
}

// FuzzFiles looks twice at a machine whose files have anything in them.
func FuzzFiles(f *testing.F) {
	cases, _ := filepath.Glob("testdata/*.txtar") // the pattern is valid
	for _, name := range cases {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		files := make(map[string]string)
		for _, file := range archive.Files {
			files[filepath.Base(file.Name)] = string(file.Data)
		}
		f.Add(files["stat"], files["loadavg"], files["meminfo"], files["dev"], files["temp"], files["get_throttled"])
	}
	f.Fuzz(func(t *testing.T, stat, first, meminfo, dev, thousandths, bits string) {
		file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
		m := machine{roots: fstest.MapFS{
			"proc/stat": file(stat), "proc/loadavg": file(first), "proc/uptime": file(first), "proc/meminfo": file(meminfo), "proc/net/dev": file(dev),
			"sys/class/thermal/thermal_zone0/temp":                    file(thousandths),
			"sys/class/power_supply/B/voltage_now":                    file(first),
			"sys/class/power_supply/B/capacity":                       file(thousandths),
			"sys/devices/platform/soc/soc:firmware/get_throttled":     file(bits),
			"sys/class/net/eth0/operstate":                            file("up\n"),
			"sys/class/net/" + strings.Repeat("x", 15) + "/operstate": file("up\n"),
		}}
		s := New(m.config())
		s.look(time.Unix(1e9, 0))
		for _, r := range s.look(time.Unix(1e9+10, 0)) {
			x, ok := r.Value.Number()
			if !ok || math.IsNaN(x) || math.IsInf(x, 0) {
				t.Errorf("%s is %v", r.Metric, r.Value)
			}
			if r.Unit == "%" && (x < 0 || x > 100) {
				t.Errorf("%s is %v %%", r.Metric, x)
			}
			if len(r.Metric) > 64 {
				t.Errorf("a metric of %d bytes", len(r.Metric))
			}
		}
	})
}

// The machine that this runs on has these, whatever else it has.
func TestUnpolledFilesAreThoseOfTheKernel(t *testing.T) {
	for name, root := range map[string]fs.FS{"stat": unpolled("/proc"), "class": unpolled("/sys")} {
		got, err := fs.Stat(root, name)
		want, wrong := os.Stat("/proc/stat")
		if name == "class" {
			want, wrong = os.Stat("/sys/class")
		}
		if err != nil || wrong != nil || got.Mode() != want.Mode() {
			t.Errorf("%s: %v, %v", name, err, wrong)
		}
		for _, wrong := range []string{"/" + name, "../" + name, "no-such-file"} {
			if _, err := root.Open(wrong); err == nil {
				t.Errorf("%s could be opened", wrong)
			}
		}
	}
	if b, err := fs.ReadFile(unpolled("/proc"), "stat"); err != nil || !strings.HasPrefix(string(b), "cpu ") {
		t.Errorf("%.20q: %v", b, err)
	}
	if names, err := fs.Glob(unpolled("/proc"), "sel[f]"); err != nil || len(names) != 1 {
		t.Error(names, err)
	}
}
