package fileout

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// lines is message n of a real encoder, with readings of every kind of value.
func lines(t *testing.T, n int) uplink.Message {
	t.Helper()
	var rs []reading.Reading
	for i, v := range []reading.Value{reading.Float(21.5), reading.Int(9007199254740993), reading.Bool(false), reading.String(`007`), reading.Bytes("\x00\xff")} {
		rs = append(rs, reading.Reading{Device: `d "e", f`, Metric: fmt.Sprint("m", i), Time: 1_700_000_000_123_456_789 + int64(n), Value: v})
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0xa1, First: uint64(n*5 + 1)}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := encode.New(encode.Config{Gateway: "g", Encoding: "ndjson"})
	if err != nil {
		t.Fatal(err)
	}
	m := uplink.Message{Key: uplink.Key{Gateway: "g", Epoch: 0xa1, First: b.First, Last: b.Last()}, Count: 5, ContentType: encoder.ContentType()}
	if m.Body, _, err = encoder.Encode(nil, []wire.Block{b}, 1<<20); err != nil {
		t.Fatal(err)
	}
	return m
}

// The recipe of docs/connect/receivers stores what files hold, once, in whatever form and
// however often they come.
func TestRecipeCountsOnce(t *testing.T) {
	for _, tool := range []string{"sqlite3", "zstd", "gzip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not there: install the package %s", tool, tool)
		}
	}
	db := filepath.Join(t.TempDir(), "readings.db")
	var files []string
	for _, compress := range []Compression{Plain, Gzip, Zstd} {
		s := newSink(t, Config{MaxSize: 2000, Compress: compress})
		for n := range 20 {
			send(t, s, lines(t, n+10*int(compress))) // half of them come twice
		}
		waitFor(t, func() bool { return strings.Count(strings.Join(names(t, s.cfg.Dir), " "), partEnd) == 1 })
		some, err := filepath.Glob(filepath.Join(s.cfg.Dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, some...)
	}
	damaged := filepath.Join(t.TempDir(), "damaged.ndjson")
	if err := os.WriteFile(damaged, []byte("{\"gateway\":\"g\n\x00\xff\x1f,\n{}\n7\n"+`{"gateway":"g","epoch":`), 0o600); err != nil {
		t.Fatal(err)
	}
	files = append(files, damaged)
	for range 2 {
		if out, err := exec.Command("sh", append([]string{"../../docs/connect/receivers/files.sh", db}, files...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	query := "SELECT count(*), count(DISTINCT seq), max(seq), max(time), max(device) FROM reading; SELECT value, typeof(value) FROM reading WHERE seq <= 5 ORDER BY seq"
	out, err := exec.Command("sqlite3", db, query).Output()
	want := "200|200|200|1700000000123456828|d \"e\", f\n21.5|real\n9007199254740993|integer\n0|integer\n007|text\nAP8=|text\n"
	if err != nil || string(out) != want {
		t.Errorf("it has %q, %v, want %q", out, err, want)
	}
}

// decode.py, which was written from wire/FORMAT.md alone, reads files of chunks.
func TestFilesOfChunksAreReadFromTheFormatAlone(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not there: install the package python3")
	}
	s := newSink(t, Config{})
	for n := range 10 {
		send(t, s, packed(t, n+1, 3))
	}
	out, err := exec.Command(python, "../../wire/testdata/decode.py", s.file.path).Output()
	if err != nil || strings.Count(string(out), "\n") != 10 || !strings.Contains(string(out), `"first": "10"`) || strings.Contains(string(out), "error") {
		t.Errorf("%v: %s", err, out)
	}
}
