package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// accident is a row of ACCIDENTS.md: something that happens to the files while
// no process has them open, and exactly what it costs.
type accident struct {
	name   string
	happen func(t *testing.T, dir string)

	kept      string // the numbers that the sink still gets
	gaps      string // what is declared lost: reason first-last
	forgotten bool   // what doors noted
	aside     string // files that are set aside
	says      string // what is logged as a warning or an error; empty: nothing is

	test func(t *testing.T) // instead of all that: a story of its own
	by   func(t *testing.T) // or a test of its own, which is not run twice
}

func accidents() []accident {
	return slices.Concat(recordAccidents(), segmentAccidents(), stateAccidents(), mediumAccidents(), placeAccidents())
}

func TestEveryAccidentCostsWhatItSays(t *testing.T) {
	short, long := shortStory(t), longStory(t)
	for _, a := range accidents() {
		if a.by != nil {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			if a.test != nil {
				a.test(t)
				return
			}
			dir := t.TempDir()
			story := short
			if strings.Contains(a.name, "segment") {
				story = long
			}
			if err := os.CopyFS(dir, os.DirFS(story)); err != nil {
				t.Fatal(err)
			}
			a.happen(t, dir)
			a.check(t, dir)
		})
	}
}

// shortStory leaves a folder as a killed process does. Five readings in as many
// commits; the sink acknowledged 1, which record 3 says, then 2, which state.db
// says. Notes came with 1, which state.db knows, and with 4.
func shortStory(t *testing.T) string {
	r := start(t, t.TempDir(), nil)
	c := r.Cursor("cloud")
	take := func(v float64, notes ...reading.Note) {
		receipt, err := r.Accept(t.Context(), []reading.Reading{value(v, reading.Normal)}, notes...)
		if err == nil {
			err = receipt.Wait(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	take(1, note("door/a", "1"))
	take(2)
	c.Ack(reading.Normal, 1, 1)
	take(3)
	c.Ack(reading.Normal, 2, 2)
	r.eventually(func() bool {
		saved := false
		err := each(r.state, bucketCursors, func(_ []byte, acked [reading.Lanes]ranges) error {
			saved = acked[reading.Normal].has(1, 2)
			return nil
		})
		return err == nil && saved
	})
	take(4, note("door/b", "1"))
	take(5)
	return r.killed()
}

// longStory leaves three segments of seven readings and a fourth of one. The sink
// acknowledged the first.
func longStory(t *testing.T) string {
	r := start(t, t.TempDir(), nil)
	r.Cursor("cloud").Ack(reading.Normal, 1, 1)
	for n := range 3*7 + 1 {
		r.acceptAll(noise("a", n, 1<<20))
	}
	return r.killed()
}

// check starts on what the accident left: it always starts.
func (a accident) check(t *testing.T, dir string) {
	r, log := startLogged(t, dir)
	if got := r.numbers("cloud"); got != a.kept {
		t.Errorf("the sink gets %s, want %s", got, a.kept)
	}
	if got := r.gapList(); got != a.gaps {
		t.Errorf("declared lost: %q, want %q", got, a.gaps)
	}
	if strings.Contains(a.kept, "5") && a.gaps == "" { // the short story, whole
		want := map[string]string{"door/a": "1", "door/b": "1"}
		if a.forgotten {
			clear(want)
		}
		r.wantNotes(want)
	}
	if got := strings.Join(asideFiles(t, dir), " "); got != a.aside {
		t.Errorf("set aside: %q, want %q", got, a.aside)
	}
	if said := log.String(); a.says == "" && said != "" || !strings.Contains(said, a.says) {
		t.Errorf("it says %q, want %q", said, a.says)
	}
	before := strings.Count(r.everyNumber("late"), " ")
	r.accept("a", 99) // and goes on
	if now := strings.Count(r.everyNumber("late"), " "); now != before+1 {
		t.Errorf("a reading comes, and a sink gets %d more", now-before)
	}
	r.stop()
	r = start(t, dir, nil)
	if got := r.gapList(); got != a.gaps {
		t.Errorf("after another start, declared lost: %q, want %q", got, a.gaps)
	}
	if now := strings.Count(r.everyNumber("later"), " "); now != before+1 {
		t.Errorf("after another start a sink gets %d, want %d", now, before+1)
	}
}

func asideFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stateFile+".") {
			names = append(names, e.Name())
		}
	}
	return names
}

// everyNumber lists the numbers of the normal lane that the sink gets, numbers
// in short.
func (r *running) everyNumber(sink string) (list string) {
	r.t.Helper()
	c := r.Cursor(sink)
	for {
		blocks, err := c.Next(ended(), reading.AllLanes, 1<<20)
		if err != nil {
			return list
		}
		for _, b := range blocks {
			for n := b.First; b.Lane == reading.Normal && n <= b.Last(); n++ {
				list += fmt.Sprint(n) + " "
			}
		}
	}
}

func (r *running) numbers(sink string) string {
	var all ranges
	for word := range strings.FieldsSeq(r.everyNumber(sink)) {
		var n uint64
		fmt.Sscan(word, &n)
		all = all.add(n, n)
	}
	var words []string
	for _, n := range all {
		words = append(words, fmt.Sprintf("%d-%d", n.First, n.Last))
	}
	return strings.Join(words, " ")
}

func (r *running) gapList() string {
	r.t.Helper()
	gaps, err := r.Gaps()
	if err != nil {
		r.t.Fatal(err)
	}
	var words []string
	for _, g := range gaps {
		words = append(words, fmt.Sprintf("%s %d-%d", g.Reason, g.First, g.Last))
	}
	return strings.Join(slices.Compact(words), ", ") // each sink may be told of one
}

// warnings keeps what is logged as a warning or worse.
type warnings struct {
	mu   sync.Mutex
	text strings.Builder
}

func (w *warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w *warnings) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w *warnings) WithGroup(string) slog.Handler                { return w }
func (w *warnings) Handle(_ context.Context, r slog.Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&w.text, " %v", a); return true })
	w.text.WriteString("\n")
	return nil
}

func (w *warnings) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func startLogged(t *testing.T, dir string) (*running, *warnings) {
	t.Helper()
	log := &warnings{}
	b, err := Open(Config{Dir: dir, MaxBytes: 2 * MinBytes, Clock: testClock()}, slog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	return runBuffer(t, b), log
}

// TestEveryAccidentIsDocumented compares the rows of the document with those
// that are tested.
func TestEveryAccidentIsDocumented(t *testing.T) {
	text, err := os.ReadFile("ACCIDENTS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) == 6 && !strings.HasPrefix(cells[1], "-") {
			documented[strings.TrimSpace(cells[1])] = true
		}
	}
	for _, a := range accidents() {
		if !documented[a.name] {
			t.Errorf("ACCIDENTS.md has no row %q", a.name)
		}
		delete(documented, a.name)
	}
	delete(documented, "What happens")
	for name := range documented {
		t.Errorf("ACCIDENTS.md has a row %q that no test has", name)
	}
}

func damage(t *testing.T, path string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
}

func lastSegment(t *testing.T, dir string) string {
	t.Helper()
	all := segments(t, dir)
	return all[len(all)-1]
}

// recordAt returns where the n-th record of segment 1 begins, recordsEnd where
// the last ends.
func recordAt(b []byte, n int) int {
	at := 0
	for range n {
		at = nextRecord(b, at)
	}
	return at
}

func recordsEnd(b []byte) int {
	at := 0
	for {
		next := nextRecord(b, at)
		if next == at {
			return at
		}
		at = next
	}
}

func nextRecord(b []byte, at int) int {
	if _, n, ok := recordLength(b[at:at+recordHeader], 1); ok {
		return at + recordHeader + n
	}
	return at
}
