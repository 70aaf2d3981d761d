package dashboard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
)

// originalUPlot is the SHA-256 of dist/uPlot.esm.js in uplot-1.6.32.tgz.
const originalUPlot = "5dd9b3281aa64b461b42d9945f6adb2649d346502b12281a9ae0d46599a80eba"

// TestUPlotIsTheOriginalButForItsCuts takes back what assets/uplot/cuts.diff says was
// cut: what comes out must be what was published.
func TestUPlotIsTheOriginalButForItsCuts(t *testing.T) {
	const dir = "assets/uplot/"
	text, diff, readme := read(t, dir+"uplot.js"), read(t, dir+"cuts.diff"), read(t, dir+"README.md")
	sum := sha256.Sum256([]byte(uncut(t, text, diff)))
	if got := hex.EncodeToString(sum[:]); got != originalUPlot || !strings.Contains(readme, originalUPlot) {
		t.Errorf("without its cuts, %suplot.js has the SHA-256 %s; the original %s", dir, got, originalUPlot)
	}
}

// TestNoticeOfUPlotTravelsWithIt looks for the notice in what browsers get.
func TestNoticeOfUPlotTravelsWithIt(t *testing.T) {
	if plot := unzip(t, []byte(read(t, "packed/plot.js.gz"))); !bytes.Contains(plot, []byte("Leon Sorokin")) || !bytes.Contains(plot, []byte("MIT Licensed")) {
		t.Error("packed/plot.js.gz has lost uPlot's notice")
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// uncut applies a unified diff without context backwards.
func uncut(t *testing.T, text, diff string) string {
	t.Helper()
	rest := strings.SplitAfter(text, "\n")
	var out strings.Builder
	line := 0 // of text, behind which rest begins
	for _, hunk := range strings.Split("\n"+diff, "\n@@ ")[1:] {
		head, body, _ := strings.Cut(hunk, "\n")
		var from, n int
		place := head[strings.Index(head, "+")+1 : strings.LastIndex(head, " @@")]
		if _, err := fmt.Sscanf(place+",1", "%d,%d", &from, &n); err != nil {
			t.Fatalf("hunk %q: %v", head, err)
		}
		if n > 0 {
			from-- // it says the first line, and the line before where there is none
		}
		out.WriteString(strings.Join(rest[:from-line], ""))
		rest, line = rest[from-line:], from
		for l := range strings.SplitAfterSeq(body+"\n", "\n") {
			switch {
			case strings.HasPrefix(l, "-"):
				out.WriteString(l[1:])
			case strings.HasPrefix(l, "+"):
				if rest[0] != l[1:] {
					t.Fatalf("hunk %q: line %d is %q, want %q", head, line+1, rest[0], l[1:])
				}
				rest, line = rest[1:], line+1
			}
		}
	}
	return out.String() + strings.Join(rest, "")
}
