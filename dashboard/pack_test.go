package dashboard

import (
	"bytes"
	"compress/gzip"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evanw/esbuild/pkg/api"
)

var update = flag.Bool("update", false, "pack the page anew")

// bars of what a browser fetches, in bytes: docs/decisions/0022.
const mostOfPage = 40_000

// TestPackedPageIsThatOfTheSources packs the modules and style sheets of assets/
// as the browser is to get them, and compares them with packed/, which is in the
// program. "make page" writes them.
func TestPackedPageIsThatOfTheSources(t *testing.T) {
	total := 0
	for name, want := range pack(t) {
		path := filepath.Join("packed", name+".gz")
		if *update {
			if err := os.WriteFile(path, zip(t, want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		packed, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v: run \"make page\"", err)
		}
		if got := unzip(t, packed); !bytes.Equal(got, want) {
			t.Errorf("%s is not what assets/ makes: run \"make page\"", path)
		}
		t.Logf("%-12s %6d bytes", name, len(packed))
		total += len(packed)
	}
	t.Logf("the page has %d bytes, compressed", total)
	if total > mostOfPage {
		t.Errorf("the page has %d bytes, compressed: at most %d", total, mostOfPage)
	}
}

// pack returns the files of the page by name. What is imported with a path of the
// server, "/assets/plot.js", is fetched when it is wanted.
func pack(t *testing.T) map[string][]byte {
	files := make(map[string][]byte)
	built := api.Build(api.BuildOptions{
		EntryPoints: []string{"assets/app.js", "assets/plot.js", "assets/style.css"},
		Bundle:      true, Format: api.FormatESModule, Target: api.ES2022, Charset: api.CharsetUTF8,
		MinifyWhitespace: true, MinifyIdentifiers: true, MinifySyntax: true, LegalComments: api.LegalCommentsInline,
		External: []string{"/assets/*"}, Outdir: "packed",
	})
	for _, e := range built.Errors {
		t.Errorf("%s:%d: %s", e.Location.File, e.Location.Line, e.Text)
	}
	for _, f := range built.OutputFiles {
		files[filepath.Base(f.Path)] = f.Contents
	}
	for _, pattern := range []string{"assets/*.html", "assets/*.svg"} {
		paths, _ := filepath.Glob(pattern) // the pattern is valid
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			files[filepath.Base(path)] = unindent(text)
		}
	}
	return files
}

// unindent takes what is before the lines of a document that has no <pre> of
// several lines.
func unindent(text []byte) []byte {
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		out.WriteString(strings.TrimLeft(line, " \t"))
	}
	return []byte(out.String())
}

// zip compresses with zopfli, which finds 4 % that others do not; where that is
// missing, with what there is.
func zip(t *testing.T, text []byte) []byte {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, text, 0o600); err != nil {
		t.Fatal(err)
	}
	tool := "zopfli"
	if _, err := exec.LookPath(tool); err != nil {
		t.Log("no zopfli, so the page is larger than it need be: apt-get install zopfli")
		tool = "gzip"
	}
	args := map[string][]string{"zopfli": {"-c", "--i50", plain}, "gzip": {"-9nc", plain}}[tool]
	zipped, err := exec.Command(tool, args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return zipped
}

func unzip(t *testing.T, packed []byte) []byte {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
