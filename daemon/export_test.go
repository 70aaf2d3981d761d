package daemon

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/internal/sticks"
	"github.com/tidegate/tidegate/reading"
)

// deadLink is an uplink whose other side is away.
const deadLink = "[[uplink.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:1/v1/ingest\"\n"

// measured is when the readings of an exporting gateway begin, in milliseconds.
const measured int64 = 1_800_000_000_000

// exporting is a gateway with n readings that nobody has, a second apart.
func exporting(t *testing.T, n int) *gatewayHere {
	t.Helper()
	g := runGateway(t, deadLink)
	eventually(t, func() bool { _, begun := g.buffer.Inventory().Sink("cloud"); return begun })
	var rs []reading.Reading
	for i := range n {
		rs = append(rs, reading.Reading{Device: "boiler-3", Metric: "temp", Unit: "Cel", Time: (measured + int64(i)*1000) * 1e6, Value: reading.Float(float64(i) / 4), Lane: reading.Normal})
	}
	receipt, err := g.buffer.Accept(t.Context(), rs)
	if err == nil {
		err = receipt.Wait(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// download asks for an export.
func (g *gatewayHere) download(query string) *httptest.ResponseRecorder {
	return g.request(httptest.NewRequest(http.MethodGet, "/api/v1/export?"+query, nil))
}

func TestAPhoneGetsWhatTheCloudCanRead(t *testing.T) {
	const n = 20_000
	g := exporting(t, n)
	w := g.download("format=packed&undelivered=cloud")
	if name := w.Header().Get("Content-Disposition"); w.Code != 200 || !strings.HasPrefix(name, "attachment; filename=north-7-20") || !strings.HasSuffix(name, ".chunks") {
		t.Fatalf("HTTP %d, %q: %.200s", w.Code, name, w.Body)
	}
	readings := 0
	for chunk, err := range cloud.ReadChunks(w.Body) {
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Gateway != "north-7" {
			t.Errorf("a chunk of %q", chunk.Gateway)
		}
		readings += chunk.Count()
	}
	if readings != n {
		t.Errorf("%d readings, want %d", readings, n)
	}
}

func TestAnExportIsWhatIsAskedFor(t *testing.T) {
	g := exporting(t, 100)
	lines := g.download(fmt.Sprintf("format=ndjson&from=%d&to=%d", measured+10_000, measured+20_000))
	all := strings.Split(strings.TrimSpace(lines.Body.String()), "\n")
	var first struct {
		Gateway, Device, Lane string
		Seq                   uint64
	}
	if err := json.Unmarshal([]byte(all[0]), &first); err != nil || len(all) != 10 || first.Gateway != "north-7" || first.Device != "boiler-3" || first.Seq != 11 {
		t.Errorf("%d lines, the first %+v, %v: %s", len(all), first, err, all[0])
	}
	table := g.download("format=csv")
	rows, err := csv.NewReader(table.Body).ReadAll()
	if err != nil || len(rows) != 101 || rows[100][4] != "24.75" || table.Header().Get("Content-Type") != "text/csv; charset=utf-8" {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	for query, want := range map[string]struct {
		code int
		said string
	}{
		"format=xml":         {400, `there is no \"xml\" — hint: ndjson, csv or packed`},
		"from=yesterday":     {400, "milliseconds since 1970"},
		"from=20&to=10":      {400, "from is not before to"},
		"undelivered=nobody": {404, `no such sink: \"nobody\" — hint:`},
	} {
		if w := g.download(query); w.Code != want.code || !strings.Contains(w.Body.String(), want.said) {
			t.Errorf("%s: HTTP %d %s", query, w.Code, w.Body)
		}
	}
}

// stickAt is a machine with one stick, mounted at a folder.
func stickAt(t *testing.T, mount, options string, space func(string) (int64, int64, error)) sticks.Host {
	t.Helper()
	sys := t.TempDir()
	disk := filepath.Join(sys, "devices/usb1/sda")
	if err := os.MkdirAll(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(sys, "dev/block"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(disk, filepath.Join(sys, "dev/block/8:0")); err != nil {
		t.Fatal(err)
	}
	mounts := filepath.Join(sys, "mountinfo")
	if err := os.WriteFile(mounts, []byte("1 0 8:0 / "+mount+" "+options+" - vfat /dev/sda rw\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return sticks.Host{Mounts: mounts, Sys: sys, Space: space}
}

func roomy(string) (free, size int64, err error) { return 1 << 30, 1 << 31, nil }

// toStick orders an export to the stick and returns the lines of the answer.
func (g *gatewayHere) toStick(host sticks.Host, order exportOrder) (code int, lines []map[string]any) {
	g.Helper()
	body, err := json.Marshal(order)
	if err != nil {
		g.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range g.exportRoutes(host) {
		mux.Handle(r.Pattern, r.Handler)
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/v1/export", bytes.NewReader(body)))
	for line := range strings.Lines(w.Body.String()) {
		var l map[string]any
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			g.Fatal(err)
		}
		lines = append(lines, l)
	}
	return w.Code, lines
}

// onStick are the names of the files there.
func onStick(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAStickGetsAWholeFileOrNone(t *testing.T) {
	g := exporting(t, 5000)
	dir := t.TempDir()
	host := stickAt(t, dir, "rw,nosuid", roomy)
	code, lines := g.toStick(host, exportOrder{Mount: dir, Undelivered: "cloud"})
	last := lines[len(lines)-1]
	name, _ := last["file"].(string)
	if code != 200 || filepath.Dir(name) != dir || last["readings"] != 5000.0 {
		t.Fatalf("HTTP %d, %v", code, lines)
	}
	file, err := os.ReadFile(name)
	if err != nil || float64(len(file)) != last["bytes"] {
		t.Errorf("%d bytes, %v, want %v", len(file), err, last["bytes"])
	}
	readings := 0
	for chunk, err := range cloud.ReadChunks(bytes.NewReader(file)) {
		if err != nil {
			t.Fatal(err)
		}
		readings += chunk.Count()
	}
	if names := onStick(t, dir); readings != 5000 || len(names) != 1 {
		t.Errorf("%d readings in %q", readings, names)
	}
}

func TestAStickThatWillNotDoGetsNothing(t *testing.T) {
	g := exporting(t, 5000)
	dir := t.TempDir()
	tight := func(string) (int64, int64, error) { return 100, 1 << 31, nil }
	for name, c := range map[string]struct {
		host  sticks.Host
		order exportOrder
		code  int
		said  string
	}{
		"no stick":    {sticks.Host{Mounts: "/dev/null"}, exportOrder{Mount: dir}, 404, "no stick is mounted"},
		"elsewhere":   {stickAt(t, dir, "rw", roomy), exportOrder{Mount: "/etc"}, 404, "no stick is mounted"},
		"above it":    {stickAt(t, dir, "rw", roomy), exportOrder{Mount: dir + "/.."}, 404, "no stick is mounted"},
		"read-only":   {stickAt(t, dir, "ro", roomy), exportOrder{Mount: dir}, 409, "read-only"},
		"too small":   {stickAt(t, dir, "rw", tight), exportOrder{Mount: dir}, 409, "100B free, and this takes"},
		"small lines": {stickAt(t, dir, "rw", tight), exportOrder{Mount: dir, Format: "csv"}, 409, "244.1KiB or more"},
		"bad order":   {stickAt(t, dir, "rw", roomy), exportOrder{Mount: dir, Format: "zip"}, 400, "there is no"},
	} {
		code, lines := g.toStick(c.host, c.order)
		if said, _ := lines[0]["error"].(string); code != c.code || !strings.Contains(said, c.said) || !strings.Contains(said, " — hint: ") {
			t.Errorf("%s: HTTP %d, %v", name, code, lines)
		}
	}
	if names := onStick(t, dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
}

// TestAStickThatFillsUpIsLeftAsItWas: a real file system that is full.
func TestAStickThatFillsUpIsLeftAsItWas(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("mount: %v: %s", err, out)
	}
	defer func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	}()
	g := exporting(t, 20_000)
	code, lines := g.toStick(stickAt(t, dir, "rw", roomy), exportOrder{Mount: dir, Format: "ndjson"})
	last := lines[len(lines)-1]
	if said, _ := last["error"].(string); code != 200 || !strings.Contains(said, "the stick is full, and nothing was left on it — hint: ") {
		t.Errorf("HTTP %d, %v", code, lines)
	}
	if names := onStick(t, dir); len(names) != 0 {
		t.Errorf("left behind: %q", names)
	}
	if out, err := exec.Command("mount", "-o", "remount,ro", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	_, lines = g.toStick(stickAt(t, dir, "rw", roomy), exportOrder{Mount: dir})
	if said, _ := lines[len(lines)-1]["error"].(string); !strings.Contains(said, "the gateway may not write to") {
		t.Errorf("read-only after all: %v", lines)
	}
}

func TestOneExportAtATime(t *testing.T) {
	g := exporting(t, 10)
	routes := map[string]http.Handler{}
	for _, r := range g.exportRoutes(sticks.Host{}) {
		routes[r.Pattern] = r.Handler
	}
	begun, held := make(chan struct{}), make(chan struct{})
	first := &slowPhone{httptest.NewRecorder(), begun, held}
	done := make(chan struct{})
	go func() {
		defer close(done)
		routes["GET /api/v1/export"].ServeHTTP(first, httptest.NewRequest(http.MethodGet, "/api/v1/export?format=csv", nil))
	}()
	<-begun
	w := httptest.NewRecorder()
	routes["GET /api/v1/export"].ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/export", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "exported already — hint: ") {
		t.Errorf("a second one: HTTP %d %s", w.Code, w.Body)
	}
	close(held)
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the first one does not end")
	}
	if !strings.HasPrefix(first.Body.String(), "time,device") {
		t.Errorf("the first one got %.50s", first.Body)
	}
}

// slowPhone takes nothing until it is let go.
type slowPhone struct {
	*httptest.ResponseRecorder
	begun, held chan struct{}
}

func (s *slowPhone) Write(b []byte) (int, error) {
	select {
	case <-s.begun:
	default:
		close(s.begun)
	}
	<-s.held
	return s.ResponseRecorder.Write(b)
}

// A stick that is pulled once it was looked at leaves a folder on the disk below.
func TestAStickThatIsPulledDoesNotFillTheDisk(t *testing.T) {
	g := exporting(t, 100)
	dir := t.TempDir()
	var host sticks.Host
	looks := 0
	host = stickAt(t, dir, "rw", func(mount string) (int64, int64, error) {
		if looks++; looks == 1 { // it goes before the second look
			if err := os.WriteFile(host.Mounts, nil, 0o600); err != nil {
				t.Error(err)
			}
		}
		return roomy(mount)
	})
	_, lines := g.toStick(host, exportOrder{Mount: dir})
	if said, _ := lines[len(lines)-1]["error"].(string); !strings.Contains(said, "no stick is mounted") {
		t.Errorf("%v", lines)
	}
	if names := onStick(t, dir); len(names) != 0 {
		t.Errorf("on the disk below: %q", names)
	}
}
