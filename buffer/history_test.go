package buffer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate/tidegate/reading"
)

// pages returns the values of everything the query chooses, taken in pages.
func (r *running) pages(q Query) (values []float64) {
	r.t.Helper()
	for {
		before := len(values)
		next, err := r.History(r.t.Context(), q, func(e Entry) error {
			values = append(values, e.Value.Float())
			return nil
		})
		if err != nil {
			r.t.Fatal(err)
		}
		if q.Limit > 0 && len(values)-before > q.Limit {
			r.t.Fatalf("a page of %d, want at most %d", len(values)-before, q.Limit)
		}
		if next == "" {
			return values
		}
		q.After = next
	}
}

// mixed takes so many readings in commits of a few, of two devices and three
// lanes; the value is the order in which they were taken.
func (r *running) mixed(from, n int) {
	lanes := []reading.Lane{reading.Normal, reading.Alarm, reading.Bulk}
	for i := from; i < from+n; i++ {
		r.acceptAll(reading.Reading{
			Device: fmt.Sprintf("dev-%d", i%2), Metric: fmt.Sprintf("m%d", i%5), Time: int64(i+1) * 1e9,
			Value: reading.Float(float64(i)), Lane: lanes[i%3],
		})
	}
}

func TestHistoryHasEverythingDeliveredOrNot(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.mixed(0, 30)
	c := r.Cursor("cloud")
	c.Ack(reading.Normal, 1, 10)
	want := make([]float64, 30)
	for i := range want {
		want[i] = float64(i)
	}
	if got := r.pages(Query{}); !slices.Equal(got, want) {
		t.Errorf("oldest first: %v", got)
	}
	slices.Reverse(want)
	if got := r.pages(Query{NewestFirst: true}); !slices.Equal(got, want) {
		t.Errorf("newest first: %v", got)
	}
	if got := r.pages(Query{Undelivered: "cloud"}); len(got) != 20 || slices.Contains(got, 0) {
		t.Errorf("undelivered: %v", got)
	}
	if _, err := r.History(t.Context(), Query{Undelivered: "clod"}, nil); !errors.Is(err, ErrNoSink) {
		t.Errorf("unknown sink: %v", err)
	}
}

// Whatever is asked for, in pages of whatever size and with restarts between
// them: each reading that was asked for comes once, and in order.
func TestPagesAreTheWholeInOrder(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.mixed(0, 60)
	rapid.Check(t, func(rt *rapid.T) {
		q := Query{
			Device:      rapid.SampledFrom([]string{"", "dev-1", "dev-*", "d*", "*-*", "nobody"}).Draw(rt, "device"),
			Metric:      rapid.SampledFrom([]string{"", "m3", "m*", "*"}).Draw(rt, "metric"),
			From:        int64(rapid.IntRange(0, 70).Draw(rt, "from")) * 1e9,
			To:          int64(rapid.IntRange(0, 70).Draw(rt, "to")) * 1e9,
			NewestFirst: rapid.Bool().Draw(rt, "newest"),
			Limit:       rapid.IntRange(0, 25).Draw(rt, "limit"),
		}
		if rapid.Bool().Draw(rt, "lanes") {
			q.Lanes = []reading.Lane{reading.Alarm, reading.Bulk}
		}
		var want []float64
		for i := range 60 {
			at := int64(i+1) * 1e9
			if (q.Device == "dev-1" && i%2 != 1) || q.Device == "nobody" || (q.Metric == "m3" && i%5 != 3) ||
				(q.From != 0 && at < q.From) || (q.To != 0 && at >= q.To) || (q.Lanes != nil && i%3 == 0) {
				continue
			}
			want = append(want, float64(i))
		}
		if q.NewestFirst {
			slices.Reverse(want)
		}
		if got := r.pages(q); !slices.Equal(got, want) {
			rt.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestTokensOutliveRestartsAndEviction(t *testing.T) {
	for _, newest := range []bool{false, true} {
		dir := t.TempDir()
		r := start(t, dir, nil)
		r.mixed(0, 30)
		q := Query{Device: "dev-*", NewestFirst: newest, Limit: 10}
		next, err := r.History(t.Context(), q, func(Entry) error { return nil })
		if err != nil || next == "" {
			t.Fatalf("%q, %v", next, err)
		}
		q.After = next
		before := r.pages(q)
		if len(before) != 20 {
			t.Fatalf("%d readings follow, want 20", len(before))
		}
		r.crash()
		r = start(t, dir, nil)
		if got := r.pages(q); !slices.Equal(got, before) {
			t.Errorf("after a restart %v, want %v", got, before)
		}
		for i := 0; r.Stats().Lost < 30; i++ {
			r.acceptAll(noise("fill", i, 256<<10))
		}
		isAlarm := func(v float64) bool { return int(v)%3 == 1 } // they are evicted last
		before = slices.DeleteFunc(before, func(v float64) bool { return !isAlarm(v) })
		if got := r.pages(q); !slices.Equal(got, before) {
			t.Errorf("after an eviction %v, want the alarms %v", got, before)
		}
		q.NewestFirst = !newest
		if _, err := r.History(t.Context(), q, nil); !errors.Is(err, ErrToken) {
			t.Errorf("token of the other order: %v", err)
		}
		r.stop()
	}
}

// A reader that has all the time in the world keeps nobody from committing, nor
// the segments that it is about to read from making room.
func TestCommitsGoOnBesideAHistoryReader(t *testing.T) {
	for _, newest := range []bool{false, true} {
		r := start(t, t.TempDir(), nil)
		for i := range 3 * segmentSize / (256 << 10) {
			r.acceptAll(noise("fill", i, 256<<10))
		}
		seen := map[uint64]bool{}
		visited := 0
		_, err := r.History(t.Context(), Query{NewestFirst: newest}, func(e Entry) error {
			if e.Device == GapDevice {
				return nil
			}
			if seen[e.Seq] {
				t.Errorf("%d came twice", e.Seq)
			}
			seen[e.Seq] = true
			if visited++; visited%20 == 0 { // a segment is thirty of them
				for i := range 25 {
					r.acceptAll(noise("fill", 1000*visited+i, 256<<10))
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("newest first %v: %v", newest, err)
		}
		if r.Stats().Lost == 0 || visited < 40 {
			t.Errorf("%d evicted, %d visited: nothing was tested", r.Stats().Lost, visited)
		}
		r.stop()
	}
}

// A file that is exchanged for one that holds less is begun anew: nothing comes
// twice, nothing that is still there is left out, and nobody calls it damaged.
func TestFileExchangedUnderAReader(t *testing.T) {
	for _, newest := range []bool{false, true} {
		dir := t.TempDir()
		r := start(t, dir, nil)
		for i := range 20 {
			r.acceptAll(noise("a", i, 100<<10))
		}
		path := segments(t, dir)[0]
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		_, err = r.History(t.Context(), Query{NewestFirst: newest}, func(e Entry) error {
			if got = append(got, e.Seq); len(got) == 5 {
				exchange(t, path, whole)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if newest {
			slices.Reverse(got)
		}
		if !slices.IsSorted(got) || len(slices.Compact(got)) != len(got) || !slices.Contains(got, 20) || slices.Contains(got, 15) {
			t.Errorf("newest first %v: %v", newest, got)
		}
		r.stop()
	}
}

// exchange puts another file in the place of the segment, in which the first
// records are left out, and spoils the one that was there.
func exchange(t *testing.T, path string, whole []byte) {
	t.Helper()
	smaller := make([]byte, len(whole))
	copy(smaller, whole[recordAt(whole, 16):recordsEnd(whole)])
	old, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.WriteFile(path+".new", smaller, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if _, err := old.WriteAt(make([]byte, len(whole)), 0); err != nil {
		t.Fatal(err)
	}
}

func TestRotCostsHistoryItsOwnRecordOnly(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.accept("a", 2)
	r.accept("a", 3)
	damage(t, segments(t, dir)[0], func(b []byte) []byte { b[recordAt(b, 1)+recordHeader+40] ^= 4; return b })
	if got := r.pages(Query{}); !slices.Equal(got, []float64{1, 3}) {
		t.Errorf("got %v", got)
	}
	if got := r.pages(Query{NewestFirst: true}); !slices.Equal(got, []float64{3, 1}) {
		t.Errorf("got %v", got)
	}
}

func TestHistoryOfAnUnreadableSegmentSaysSo(t *testing.T) {
	dir := t.TempDir()
	r := start(t, dir, nil)
	r.accept("a", 1)
	r.stop()
	path := segments(t, dir)[0]
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // reading a folder fails, even for root
		t.Fatal(err)
	}
	if _, err := r.History(t.Context(), Query{}, func(Entry) error { return nil }); err == nil {
		t.Error("not a word")
	} else {
		t.Log(err)
	}
}

func TestHistoryEndsWithItsContextAndItsVisitor(t *testing.T) {
	r := start(t, t.TempDir(), nil)
	r.mixed(0, 5)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.History(ended, Query{}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	enough := errors.New("enough")
	if _, err := r.History(t.Context(), Query{}, func(Entry) error { return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
}

func TestStarsStandForAnyCharacters(t *testing.T) {
	for pattern, want := range map[string]string{
		"": "a ab abc plant/a", "*": "a ab abc plant/a", "a": "a", "a*": "a ab abc", "*a": "a plant/a", "*b*": "ab abc",
		"a*b*c": "abc", "a*a": "", "**a": "a plant/a", "p*/a": "plant/a", "abc*c": "",
	} {
		var got []string
		for _, name := range []string{"a", "ab", "abc", "plant/a"} {
			if matches(pattern, name) {
				got = append(got, name)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q matches %q, want %q", pattern, got, want)
		}
	}
}

func FuzzToken(f *testing.F) {
	p := place{newestFirst: true, passed: [reading.Lanes]uint64{1, 2, 3}}
	f.Add(string(p.token()), true)
	f.Add("", false)
	f.Add("bwAAAA", false)
	f.Fuzz(func(t *testing.T, text string, newest bool) {
		p, err := Token(text).place(newest)
		if err != nil {
			return
		}
		again, err := p.token().place(newest)
		if err != nil || again != p {
			t.Errorf("%q is %+v, and then %+v: %v", text, p, again, err)
		}
	})
}

func journalFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range entries {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = info.ModTime().String() + string(text)
	}
	return files
}
