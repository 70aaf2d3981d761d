package buffer

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// rewrite returns what changes the short story's segment.
func rewrite(change func(b []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) { damage(t, segmentPath(dir, 1), change) }
}

// flip flips a bit behind the beginning of a record, counted from 0.
func flip(record, at int) func(*testing.T, string) {
	return rewrite(func(b []byte) []byte { b[recordAt(b, record)+at] ^= 4; return b })
}

func recordAccidents() []accident {
	const damaged = "damaged bytes in a segment"
	return []accident{
		{name: "nothing", happen: func(*testing.T, string) {}, kept: "3-5"},
		{name: "torn record at the end", kept: "3-5", happen: rewrite(func(b []byte) []byte {
			end := recordsEnd(b)
			return append(append(b[:end:end], b[:100]...), b[end+100:]...)
		})},
		{name: "zeros where the last record's end was", kept: "3-4", happen: rewrite(func(b []byte) []byte {
			clear(b[recordsEnd(b)-20:])
			return b
		})},
		{name: "bit rot in a record's header", kept: "4-5", gaps: "damaged 3-3", says: damaged, happen: flip(2, 9)},
		{name: "bit rot in a block", kept: "4-5", gaps: "damaged 3-3", says: damaged,
			happen: rewrite(func(b []byte) []byte { b[recordAt(b, 3)-1] ^= 4; return b })},
		{name: "bit rot in a cursor's mark", kept: "4-5", gaps: "damaged 3-3", says: damaged, happen: flip(2, recordHeader+3)},
		{name: "bit rot in a note", kept: "3-3 5-5", gaps: "damaged 4-4", says: "what doors remembered is forgotten", happen: flip(3, recordHeader+3)},
		{name: "record of a newer version", kept: "3-3 5-5", forgotten: true, says: "readings of a later version of the program are kept for it",
			happen: rewrite(func(b []byte) []byte {
				header := b[recordAt(b, 3):][:recordHeader]
				header[len(recordMagic)]++
				binary.LittleEndian.PutUint32(header[4:], headerSum(header))
				return b
			})},
		{name: "bit rot in a record's version", kept: "3-5", happen: rewrite(func(b []byte) []byte { b[recordAt(b, 3)+len(recordMagic)] ^= 1; return b })},
		{name: "segment of a newer version", by: TestReadingsOfALaterVersionWaitForIt},
		{name: "segment of an earlier version", by: TestJournalsOfEarlierProgramsComeOut},
		{name: "block of a newer version", by: TestRecordsOfANewerVersionAreNotOverwritten},
		{name: "sector that cannot be read", by: TestBadSpotCostsItsOwnRecordOnly},
		{name: "rot of the last record after a clean end", by: TestRotOfTheLastRecordAfterACleanEnd},
		{name: "rot in a record that nobody read before it is evicted", by: TestRotInAnEvictedSegmentIsDeclared},
		{name: "file that is not the buffer's", kept: "3-5", says: "foreign file", happen: func(t *testing.T, dir string) {
			for _, name := range []string{"README", "000000000007.seg.bak", "notanumber.seg"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte("hello"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
}

func segmentAccidents() []accident {
	remove := func(n uint64) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.Remove(segmentPath(dir, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	write := func(name string, size int) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, name), make([]byte, size), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []accident{
		{name: "oldest segment is missing", kept: "8-22", gaps: "missing 2-7", says: "segment file is missing", happen: remove(1)},
		{name: "middle segment is missing", kept: "2-7 15-22", gaps: "missing 8-14", says: "segment file is missing", happen: remove(2)},
		{name: "newest segment is missing", kept: "2-21", happen: remove(4)},
		{name: "truncated segment", kept: "2-10 15-22", gaps: "damaged 11-14", says: "readings lost",
			happen: func(t *testing.T, dir string) { truncate(t, segmentPath(dir, 2), 3<<20+4096) }},
		{name: "emptied segment", kept: "2-7 15-22", gaps: "damaged 8-14", says: "readings lost", happen: write("000000000002.seg", 0)},
		{name: "first header of a sealed segment rots", kept: "2-7 9-22", gaps: "damaged 8-8", says: "damaged bytes in a segment",
			happen: func(t *testing.T, dir string) { overwrite(t, segmentPath(dir, 2), 8, 8) }},
		{name: "half-made copy of a segment", kept: "2-22", happen: write("000000000002.seg"+shrunkSuffix, 5000)},
		{name: "spare segment of another size", kept: "2-22", happen: write(spareFile, 5000)},
		{name: "half-made segment", kept: "2-22", happen: write("000000000005.seg", 5000)},
		{name: "old records of a recycled segment", kept: "2-22", happen: func(t *testing.T, dir string) {
			old, err := os.ReadFile(segmentPath(dir, 1))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(segmentPath(dir, 5), old, 0o600); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "folder with a segment's name", kept: "2-22", says: "foreign file", happen: func(t *testing.T, dir string) {
			if err := os.Mkdir(segmentPath(dir, 5), 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		{name: "newest segment is missing after a clean end", test: func(t *testing.T) {
			dir := t.TempDir()
			r := start(t, dir, nil)
			r.accept("a", 1)
			r.accept("a", 2)
			r.Cursor("cloud").Ack(reading.Normal, 1, 1)
			r.stop()
			remove(1)(t, dir)
			accident{gaps: "missing 2-2", says: "segment file is missing"}.check(t, dir)
		}},
		{name: "number of a missing segment is taken again", by: TestANumberThatWasNotedIsNotUsedAgain},
	}
}
