package daemon

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

func TestTimesOfTheCommandLine(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		"2026-01-31T08:00:00+01:00": "2026-01-31T07:00:00Z",
		"2026-01-31T08:00:00.5Z":    "2026-01-31T08:00:00.5Z",
		"2026-01-31 08:00":          "2026-01-31T08:00:00Z",
		"2026-01-31 08:00:30":       "2026-01-31T08:00:30Z",
		"2026-01-31":                "2026-01-31T00:00:00Z",
		"90m":                       "2026-03-01T10:30:00Z",
		"2d":                        "2026-02-27T12:00:00Z",
	} {
		got, err := parseWhen(text, now)
		if s := time.Unix(0, got).UTC().Format(time.RFC3339Nano); err != nil || s != want {
			t.Errorf("%q is %s, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"yesterday", "5", "-5m", "2026-13-01", "2026-01-31T08:00"} {
		if _, err := parseWhen(text, now); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Devices choose their names, and a terminal obeys what it is sent.
func TestNothingOfADeviceMovesTheCursor(t *testing.T) {
	hostile := "a\x1b[2Jb\r\n\x9bc\u202ed\xffe"
	e := buffer.Entry{Reading: reading.Reading{Device: hostile, Metric: hostile, Unit: hostile, Value: reading.String(hostile)}}
	var b strings.Builder
	writeEntries(&b, []buffer.Entry{e})
	if strings.ContainsAny(b.String(), "\x1b\r\u009b\u202e") || !utf8.ValidString(b.String()) || strings.Count(b.String(), "\n") != 2 {
		t.Errorf("%q", b.String())
	}
	for _, most := range []int{1, 5, 40} {
		if got := printable(strings.Repeat("ü", 100), most); utf8.RuneCountInString(got) > most || !utf8.ValidString(got) {
			t.Errorf("%d characters: %q", most, got)
		}
	}
}

func TestPeekFitsATerminal(t *testing.T) {
	var entries []buffer.Entry
	for _, v := range []reading.Value{reading.Float(21.5), reading.String(strings.Repeat("long ", 40)), reading.Bytes(strings.Repeat("\x00\xff", 60)), reading.Bytes(`{"json":1}`)} {
		entries = append(entries, buffer.Entry{Seq: 1234567, Reading: reading.Reading{Device: "plant/press-1", Metric: "temp", Value: v}})
	}
	var b strings.Builder
	writeEntries(&b, entries)
	for line := range strings.Lines(b.String()) {
		if utf8.RuneCountInString(line) > 81 || strings.HasSuffix(line, " \n") {
			t.Errorf("%q", line)
		}
	}
	for _, want := range []string{"1970-01-01 UTC  LANE", "\n00:00:00.000 ", "21.5\n", "120B 00ff", `10B {"json`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	b.Reset()
	entries[1].Time = int64(24 * time.Hour)
	writeEntries(&b, entries)
	if !strings.Contains(b.String(), "\n1970-01-02 00:00:00.000  normal") {
		t.Errorf("of two days:\n%s", b.String())
	}
}

func TestLostReadingsAreThoseOfTheTimesShown(t *testing.T) {
	at := func(times ...int64) (entries []buffer.Entry) {
		for _, n := range times {
			entries = append(entries, buffer.Entry{Reading: reading.Reading{Time: n}})
		}
		return entries
	}
	gaps := []buffer.Gap{
		{Lane: "normal", Count: 3, From: 10, To: 20, Reason: buffer.ReasonEvicted},
		{Lane: "bulk", Count: 5, From: 12, To: 13, Reason: buffer.ReasonDamaged},
		{Lane: "normal", Count: 7, From: 12, To: 13, Reason: buffer.ReasonPurged}, // still here
		{Lane: "normal", Count: 9, Reason: buffer.ReasonMissing},                  // who knows when
	}
	for _, c := range []struct {
		q       buffer.Query
		entries []buffer.Entry
		want    uint64
	}{
		{buffer.Query{}, at(1, 30), 8},
		{buffer.Query{}, at(15, 30), 3},
		{buffer.Query{}, at(30, 40), 0},
		{buffer.Query{Lanes: []reading.Lane{reading.Bulk}}, at(40, 1), 5},
		{buffer.Query{}, nil, 0},
	} {
		if got := missing(c.q, gaps, c.entries); got != c.want {
			t.Errorf("%+v: %d, want %d", c.q, got, c.want)
		}
	}
}

func TestExportFileIsWholeOrNotThere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "all")
	broken := errors.New("broken")
	if err := writeWhole(path, func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("it left %v", left)
	}
	if err := writeWhole(path, func(w io.Writer) error { _, _ = io.WriteString(w, "rest"); return buffer.ErrLeftOut }); !errors.Is(err, buffer.ErrLeftOut) {
		t.Error(err)
	}
	if text, err := os.ReadFile(path); string(text) != "rest" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
}

// Who names a file is told of that file, and what to do.
func TestFileThatCannotBeWrittenIsTheOneThatWasNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nonexist", "all")
	err := notWritten(path, writeWhole(path, func(io.Writer) error { return nil }))
	if want := "write " + path + ": no such file or directory — hint: make the folder first: " + filepath.Dir(path); err == nil || err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, want %s", err, want)
	}
	if err := notWritten(path, buffer.ErrLeftOut); !errors.Is(err, buffer.ErrLeftOut) {
		t.Error(err)
	}
}

// A stick keeps no half file of an export that was killed on it.
func TestAnExportRemovesWhatAKilledOneLeft(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".tidegate-export-123"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeWhole(filepath.Join(dir, "all"), func(w io.Writer) error { _, err := io.WriteString(w, "all"); return err }); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != "all" {
		t.Errorf("it left %v, %v", left, err)
	}
}

// quarantined is a buffer of which all is in quarantine, for two sinks.
func quarantined(t *testing.T, rs ...reading.Reading) (c *bufferCall, inv buffer.Inventory) {
	t.Helper()
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0xa1, First: 5}, rs)
	if err != nil {
		t.Fatal(err)
	}
	for _, sink := range []string{"archive", "cloud"} {
		inv.Refused = append(inv.Refused, buffer.Refused{Quarantined: buffer.Quarantined{Sink: sink, Raw: raw}, Lane: "normal", First: 5, Last: 5 + uint64(len(rs)) - 1})
	}
	return &bufferCall{refused: true, gateway: "g\"1"}, inv
}

func TestExportsSayWhatTheReadingsAre(t *testing.T) {
	rs := []reading.Reading{
		{Device: "a,b", Metric: "say \"hi\"", Unit: "Cel", Time: 1e9, Value: reading.String("two\r\nlines"), Flags: reading.Bad},
		{Device: "a,b", Metric: "x", Time: 1e9, Value: reading.Bytes("\x00\xff"), Flags: reading.Bad},
	}
	c, inv := quarantined(t, rs...)
	inv.Refused = inv.Refused[:1]
	for format, want := range map[string]string{"ndjson": "", "csv": "time,device"} {
		c.format = format
		var out bytes.Buffer
		n, err := c.copyOf(inv).to(t.Context(), &out)
		if err != nil || n.readings != 2 || n.bytes != int64(out.Len()) || !strings.HasPrefix(out.String(), want) {
			t.Fatalf("%s: %+v, %v\n%s", format, n, err, out.String())
		}
		if format == "csv" {
			rows, err := csv.NewReader(&out).ReadAll()
			if err != nil || len(rows) != 3 || rows[1][1] != "a,b" || rows[1][4] != "two\nlines" || rows[2][4] != "AP8=" || rows[2][5] != "bytes" || rows[1][6] != "bad" || rows[2][9] != "6" {
				t.Errorf("%q, %v", rows, err)
			}
			continue
		}
		var line struct{ Gateway, Epoch, Metric, Value string }
		if err := json.NewDecoder(&out).Decode(&line); err != nil || line.Gateway != "g\"1" || line.Epoch != "00000000000000a1" || line.Value != "two\r\nlines" {
			t.Errorf("%+v, %v", line, err)
		}
	}
}

// What two sinks refused is one block, and travels once.
func TestPackedQuarantineHasEachBlockOnce(t *testing.T) {
	c, inv := quarantined(t, reading.Reading{Device: "d", Metric: "m", Time: 1, Value: reading.Float(1)})
	c.format = "packed"
	var out bytes.Buffer
	n, err := c.copyOf(inv).to(t.Context(), &out)
	if err != nil || n.readings != 1 || n.chunks != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	chunk, err := wire.ParseChunk(out.Bytes())
	if err != nil || chunk.First() != 5 || chunk.Epoch() != 0xa1 || chunk.Gateway != c.gateway {
		t.Errorf("%+v, %v", chunk, err)
	}
}

func TestListingSaysEverything(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := listing{
		Gateway: "north-7", Readings: 1, Bytes: 1 << 20, MaxBytes: 1 << 30, StateError: "torn",
		Segments: []listedSegment{
			{Number: 7, Bytes: 1 << 20, From: now.UnixNano(), To: now.AddDate(-1, 0, 0).UnixNano(), Lanes: map[string]buffer.Span{"alarm": {First: 3, Last: 5}}, DeliveredTo: []string{"archive", "cloud"}},
			{Number: 8, Lanes: map[string]buffer.Span{}},
		},
		Sinks:   []listedSink{{Name: "cloud", Configured: true, Waiting: 5, Bytes: 2048}, {Name: "old"}},
		Refused: []buffer.Refused{{Quarantined: buffer.Quarantined{Sink: "cloud", Reason: "422: no\x1b[31m device", At: now.UnixNano()}, Lane: "bulk", First: 1, Last: 2}},
	}
	for range mostGaps + 3 {
		l.Gaps = append(l.Gaps, buffer.Gap{Lane: "bulk", Count: 4, Reason: buffer.ReasonRefused})
	}
	var b strings.Builder
	if err := l.write(&b, now); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"north-7: 1 reading, 1.0MiB of 1.0GiB on flash; the gateway is stopped\n! state.db: torn\n    hint: ",
		"7        1.0MiB  0       3      0     03-01 12:00  2025-03-01  archive, cloud\n",
		"8        0B      0       0      0     -            -           nobody\n",
		"cloud  5        2.0KiB\nold    0        0B      not configured any more\n",
		"4     bulk  -        -           -   refused  all\n",
		"and 3 more: -json has them\n",
		"cloud       bulk  1..2     03-01 12:00  422: no·[31m device\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

func TestDamageIsWorded(t *testing.T) {
	lost := buffer.Damage{Segment: 3, What: "are gone", Lane: "normal", First: 5, Last: 5}
	declared, owed, delivered := lost, lost, lost
	declared.Declared, owed.Sinks, delivered.Delivered = true, []string{"cloud"}, true
	found := buffer.Checked{Segments: 1, Damage: []buffer.Damage{{Segment: 3, What: "the file is missing"}, lost, declared, owed, delivered}, StateError: "torn"}
	var b strings.Builder
	if err := writeChecked(&b, found); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"✗ segment 3: the file is missing\n", "1 reading, normal 5..5, are gone\n", "are gone; a gap says so already\n",
		"are gone; not delivered to cloud\n", "are gone; they had been delivered\n", "✗ state.db: torn\n    hint: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}
