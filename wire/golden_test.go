package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// The golden vectors let an implementation in another language check itself:
// each .bin is a frame, and the .json beside it says what is in it, in the
// terms of FORMAT.md. The cases that they are made from are in
// golden_cases_test.go, the terms in golden_vector_test.go.

var update = flag.Bool("update", false, "write the golden vectors anew")

const goldenDir, badDir = "testdata/golden", "testdata/bad"

// TestGoldenReadingsEncodeToTheirBytes holds the encoder to bytes that were
// written once. Of compressed blocks it compares the header and the body before
// compression: a newer compressor may well find shorter bytes for it.
func TestGoldenReadingsEncodeToTheirBytes(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, name := range frames(t, goldenDir) {
		t.Run(name, func(t *testing.T) {
			want, described := loadGolden(t, name)
			got := encodeGolden(t, described)
			gotBlocks, wantBlocks := blocksOf(t, got), blocksOf(t, want)
			for i, w := range wantBlocks {
				g := gotBlocks[i]
				if g.Header != w.Header || g.merged != w.merged || !bytes.Equal(inflate(t, g), inflate(t, w)) {
					t.Errorf("block %d is %+v\n%x, want %+v\n%x", i, g.Header, inflate(t, g), w.Header, inflate(t, w))
				}
			}
			if !described.packed() && !bytes.Equal(got, want) {
				t.Errorf("encoded to\n%x, want\n%x", got, want)
			}
		})
	}
}

func TestGoldenBytesDecodeToTheirReadings(t *testing.T) {
	for _, name := range frames(t, goldenDir) {
		t.Run(name, func(t *testing.T) {
			raw, want := loadGolden(t, name)
			if got := describe(t, want.About, raw); !reflect.DeepEqual(got, want) {
				t.Errorf("decoded to\n%s, want\n%s", got.file(t), want.file(t))
			}
		})
	}
}

func TestGoldenVectorsCoverTheFormat(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range frames(t, goldenDir) {
		_, g := loadGolden(t, name)
		seen[fmt.Sprintf("chunk %t", g.Gateway != "")] = true
		for _, b := range g.Blocks {
			seen["lane "+b.Lane], seen["clock "+b.Clock] = true, true
			seen[fmt.Sprintf("unit %d", b.TimeUnit)] = true
			seen[fmt.Sprintf("packed %t, merged %t", b.Packed, b.Parts != nil)] = true
			for _, tag := range b.Tags {
				seen[fmt.Sprintf("tag %d", tag)] = true
			}
		}
	}
	want := []string{"chunk true", "chunk false", "lane normal", "lane alarm", "lane bulk",
		"clock unsynced", "clock synced", "clock stepped",
		"packed false, merged false", "packed true, merged false", "packed false, merged true", "packed true, merged true"}
	for tag := tagDecimal; tag <= tagMixed; tag++ {
		want = append(want, fmt.Sprintf("tag %d", tag))
	}
	for unit := range timeUnits {
		want = append(want, fmt.Sprintf("unit %d", unit))
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no golden vector has %s", w)
		}
	}
}

// TestBadVectorsAreRefused reads frames with a valid checksum, most of them,
// that no encoder writes.
func TestBadVectorsAreRefused(t *testing.T) {
	reasons := map[string]error{"corrupt": ErrCorrupt, "version": ErrVersion}
	for _, name := range frames(t, badDir) {
		var want struct{ About, Error string }
		raw := load(t, badDir, name, &want)
		if err := decodeFrame(raw); reasons[want.Error] == nil || !errors.Is(err, reasons[want.Error]) {
			t.Errorf("%s: %v, want %s (%s)", name, err, want.Error, want.About)
		}
	}
}

// TestFormatShowsTheGoldenBytes compares the hex examples of FORMAT.md with
// the vectors that they are said to be.
func TestFormatShowsTheGoldenBytes(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```hex ")
	for n := 0; ; n++ {
		name, dump, _ := strings.Cut(rest, "\n")
		dump, rest, _ = strings.Cut(dump, "```")
		var got strings.Builder
		for line := range strings.Lines(dump) { // offset, two spaces, bytes, two spaces, explanation
			if columns := strings.SplitN(line, "  ", 3); len(columns) == 3 {
				got.WriteString(strings.ReplaceAll(columns[1], " ", ""))
			}
		}
		want, _ := loadGolden(t, name)
		if got.String() != hex.EncodeToString(want) {
			t.Errorf("FORMAT.md shows %s as\n%s, it is\n%x", name, &got, want)
		}
		var more bool
		if _, rest, more = strings.Cut(rest, "```hex "); !more {
			if n < 1 {
				t.Error("want an example of a block and one of a chunk")
			}
			return
		}
	}
}

// frames returns the names of the vectors in dir.
func frames(t testing.TB, dir string) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.bin"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no vectors in %s (%v)", dir, err)
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(p), ".bin")
	}
	return paths
}

func load(t testing.TB, dir, name string, description any) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name+".bin"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, description); err != nil {
		t.Fatalf("%s.json: %v", name, err)
	}
	return raw
}

func loadGolden(t testing.TB, name string) (raw []byte, g goldenFrame) {
	t.Helper()
	raw = load(t, goldenDir, name, &g)
	return raw, g
}

func decodeFrame(raw []byte) error {
	var blocks []Block
	if bytes.HasPrefix(raw, []byte(chunkMagic)) {
		c, err := ParseChunk(raw)
		if err != nil {
			return err
		}
		blocks = c.Blocks
	} else {
		b, _, err := ParseBlock(raw)
		if err != nil {
			return err
		}
		blocks = []Block{b}
	}
	for _, b := range blocks {
		if _, err := NewDecoder().Decode(nil, b); err != nil {
			return err
		}
	}
	return nil
}
