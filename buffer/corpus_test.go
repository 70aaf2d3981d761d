package buffer

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/tidegate/tidegate/internal/corpustest"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// What earlier programs have acknowledged and not delivered comes out once and in
// order, and nothing else is declared lost than they have declared.
func TestJournalsOfEarlierProgramsComeOut(t *testing.T) {
	for _, name := range corpustest.Names(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			want := corpustest.Unpack(t, name, dir)
			journal := filepath.Join(dir, "data", "journal")
			r, log := startLogged(t, journal)
			checkBacklog(t, r, want)
			wantBlocks(t, r, want.Refused)
			if gaps := r.gapList(); strings.Count(gaps, ReasonQuarantined) != want.Refused || strings.Count(gaps, "-") != want.Refused {
				t.Errorf("declared lost: %q, want %d blocks that were refused", gaps, want.Refused)
			}
			notes := map[string]bool{"command/id/" + want.Command: want.Command != "", "mqtt/": len(want.Messages) > 0}
			for prefix, there := range notes {
				if found := r.noteKeys(prefix); (len(found) > 0) != there && !(prefix == "command/id/" && want.Command == "") {
					t.Errorf("notes of %s: %q, want some: %v", prefix, found, there)
				}
			}
			if aside := asideFiles(t, journal); len(aside) > 0 {
				t.Errorf("set aside: %q", aside)
			}
			if said := log.String(); said != "" {
				t.Errorf("it says %q", said)
			}
			r.accept("a", 1)
			r.stop()
			again, log := startLogged(t, journal) // as what it has become
			if said := log.String(); said != "" {
				t.Errorf("at the second start it says %q", said)
			}
			checkBacklog(t, again, want)
		})
	}
}

// noteKeys lists the keys of notes that begin so.
func (r *running) noteKeys(prefix string) (keys []string) {
	if err := r.Notes(r.t.Context(), prefix, func(n reading.Note) error {
		keys = append(keys, n.Key)
		return nil
	}); err != nil {
		r.t.Error(err)
	}
	return keys
}

func wantBlocks(t *testing.T, r *running, want int) {
	t.Helper()
	if q, err := r.Quarantined(); err != nil || len(q) != want {
		t.Errorf("%d blocks are in quarantine, want %d: %v", len(q), want, err)
	}
}

// checkBacklog reads what the uplink "cloud" does not have.
func checkBacklog(t *testing.T, r *running, want corpustest.Expectation) {
	t.Helper()
	var numbers []int
	for _, lane := range []reading.LaneSet{reading.LanesOf(reading.Normal), reading.LanesOf(reading.Alarm)} {
		last := 0
		for _, n := range metricN(t, r, lane) {
			if n <= last {
				t.Errorf("%d comes after %d", n, last)
			}
			last = n
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	var all []int
	for n := want.Delivered + 1; n <= want.Acked; n++ {
		all = append(all, n)
	}
	if !slices.Equal(numbers, all) {
		t.Errorf("waiting for cloud: %v, want %d to %d", numbers, want.Delivered+1, want.Acked)
	}
}

// metricN returns the values of the metric n of the lanes, in the order in which the
// cursor brings them.
func metricN(t *testing.T, r *running, lanes reading.LaneSet) (all []int) {
	t.Helper()
	c := r.Cursor("cloud")
	dec := wire.NewDecoder()
	for {
		ready, cancel := context.WithCancel(t.Context())
		cancel() // what is there, is there
		blocks, err := c.Next(ready, lanes, 1<<20)
		if err != nil {
			return all
		}
		for _, b := range blocks {
			rs, err := dec.Decode(nil, b)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range rs {
				if one.Metric == "n" {
					n, _ := one.Value.Number()
					all = append(all, int(n))
				}
			}
		}
	}
}

// The corpus has what this version writes: a change of it comes with a new entry.
func TestTheCorpusHasThisVersion(t *testing.T) {
	for _, name := range corpustest.Names(t) {
		dir := t.TempDir()
		corpustest.Unpack(t, name, dir)
		journal := filepath.Join(dir, "data", "journal")
		files, _, err := listSegments(journal)
		if err != nil || len(files) == 0 {
			t.Fatal(err)
		}
		header, ok := firstHeader(journal, files[len(files)-1])
		db, err := bbolt.Open(filepath.Join(journal, stateFile), 0o600, &bbolt.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		var sealed []byte
		_ = db.View(func(tx *bbolt.Tx) error { // to memory
			sealed = bytes.Clone(tx.Bucket([]byte(bucketMeta)).Get([]byte(schemaKey)))
			return nil
		})
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if ok && header[len(recordMagic)] == recordVersion && bytes.HasPrefix(sealed, []byte{'0' + schema}) {
			return
		}
	}
	t.Errorf("no entry has records of version %c and a state.db of schema %d: make one with \"make corpus\"", recordVersion, schema)
}

// A segment of an earlier version is not continued: each has its own, so that an earlier
// program passes over whole files.
func TestEachVersionBeginsASegmentOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	corpustest.Unpack(t, "3-sealed", dir)
	journal := filepath.Join(dir, "data", "journal")
	before, err := os.ReadFile(segments(t, journal)[0])
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(Config{Dir: journal, MaxBytes: 2 * MinBytes, Clock: testClock()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r := runBuffer(t, b)
	r.accept("a", 1)
	r.stop()
	after, err := os.ReadFile(segments(t, journal)[0])
	if err != nil || !bytes.Equal(before, after) || len(segments(t, journal)) != 2 {
		t.Errorf("the earlier segment was written to, or there are %d segments: %v", len(segments(t, journal)), err)
	}
}

// FuzzRecordBody: a body is refused or whole, in each version, and takes no more
// memory than a multiple of its length.
func FuzzRecordBody(f *testing.F) {
	for _, name := range []string{"1-first", "2-ranges", "8-page"} {
		dir := f.TempDir()
		corpustest.Unpack(f, name, dir)
		text, err := os.ReadFile(segmentPath(filepath.Join(dir, "data", "journal"), 1))
		if err != nil {
			f.Fatal(err)
		}
		for at := 0; at+recordHeader < len(text); {
			_, n, ok := recordLength(text[at:], 1)
			if !ok {
				break
			}
			at += recordHeader
			f.Add(text[at : at+n])
			at += n
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, parse := range []func(*record, []byte) bool{(*record).parse, (*record).parse1} {
			var r record
			if !parse(&r, body) {
				continue
			}
			size := 0
			for _, b := range r.blocks {
				size += len(b.Raw)
			}
			for _, m := range r.cursors {
				size += len(m.name) + 1 + reading.Lanes
				for _, rs := range m.acked {
					if len(rs) > maxRanges {
						t.Errorf("%d ranges", len(rs))
					}
				}
			}
			if size > len(body) {
				t.Errorf("%d bytes were made of %d", size, len(body))
			}
		}
	})
}
