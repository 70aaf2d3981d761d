package cloud

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/tidegate/tidegate/wire"
)

// read returns the first numbers of the chunks of a file, and what was wrong.
func read(r io.Reader) (firsts []uint64, wrong []error) {
	for c, err := range ReadChunks(r) {
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		firsts = append(firsts, c.First())
	}
	return firsts, wrong
}

func TestWhatIsWholeOfAFileIsRead(t *testing.T) {
	a, b, c := encode(t, chunk(run(t, 1, 5))), encode(t, chunk(run(t, 6, 9))), encode(t, chunk(run(t, 10, 12)))
	newer := bytes.Clone(b)
	newer[2] = wire.Version + 1
	newer = reseal(newer)
	rotten := bytes.Clone(b)
	rotten[len(rotten)/2] ^= 1
	long := bytes.Clone(b)
	long[9] ^= 1 // the length
	whole := len(a) + len(b) + len(c)
	for name, f := range map[string]struct {
		file   []byte
		firsts []uint64
		wrong  string
	}{
		"whole":               {slices.Concat(a, b, c), []uint64{1, 6, 10}, "[]"},
		"nothing":             {nil, nil, "[]"},
		"rot in the middle":   {slices.Concat(a, rotten, c), []uint64{1, 10}, fmt.Sprintf("[bytes %d to %d are damaged]", len(a), len(a)+len(b)-1)},
		"a wrong length":      {slices.Concat(a, long, c), []uint64{1, 10}, fmt.Sprintf("[bytes %d to %d are damaged]", len(a), len(a)+len(b)-1)},
		"rot at the end":      {slices.Concat(a, rotten), []uint64{1}, fmt.Sprintf("[bytes %d to %d are damaged]", len(a), len(a)+len(b)-1)},
		"cut off":             {slices.Concat(a, b, c)[:whole-3], []uint64{1, 6}, fmt.Sprintf("[the file ends at byte %d, in the middle of the chunk that begins at byte %d]", whole-3, len(a)+len(b))},
		"cut off in the head": {slices.Concat(a, b[:7]), []uint64{1}, fmt.Sprintf("[the file ends at byte %d, in the middle of the chunk that begins at byte %d]", len(a)+7, len(a))},
		"zeros at the end":    {append(slices.Concat(a, b), make([]byte, 5000)...), []uint64{1, 6}, fmt.Sprintf("[bytes %d to %d are damaged]", len(a)+len(b), len(a)+len(b)+4999)},
		"something before":    {append([]byte("hello tC hello tC world, this is no chunk "), a...), []uint64{1}, "[bytes 0 to 41 are damaged]"},
		"a later version":     {slices.Concat(a, newer, c), []uint64{1, 10}, fmt.Sprintf("[chunk at byte %d: chunk: version 2: unknown format version]", len(a))},
	} {
		for _, r := range []io.Reader{bytes.NewReader(f.file), iotest.OneByteReader(bytes.NewReader(f.file))} {
			firsts, wrong := read(r)
			if !slices.Equal(firsts, f.firsts) || fmt.Sprint(wrong) != f.wrong {
				t.Errorf("%s: %v %v, want %v %s", name, firsts, wrong, f.firsts, f.wrong)
			}
		}
	}
}

// reseal makes the checksum of a frame right.
func reseal(frame []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(frame[4:], crc32.Update(crc32.Checksum(frame[:4], table), table, frame[8:]))
	return frame
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(bytes.NewReader(encode(t, chunk(run(t, 1, 5)))), iotest.ErrReader(broken))
	firsts, wrong := read(r)
	if len(firsts) != 1 || len(wrong) != 1 || !errors.Is(wrong[0], broken) {
		t.Errorf("%v, %v", firsts, wrong)
	}
}

// FuzzReadChunks: whatever a stick holds, reading it ends, takes no memory that
// it has no bytes for, and finds the chunk that lies behind it.
func FuzzReadChunks(f *testing.F) {
	good := encode(f, chunk(run(f, 1, 5)))
	f.Add(good)
	f.Add(good[:20])
	f.Add([]byte("tC\x01\x00\xff\xff\xff\xff\xff\xff\xff\x03tCtC"))
	f.Fuzz(func(t *testing.T, junk []byte) {
		before, wrong := read(bytes.NewReader(junk))
		for _, err := range wrong {
			if d := (*Damage)(nil); errors.As(err, &d) && (d.From < 0 || d.To <= d.From || d.To > int64(len(junk))) {
				t.Errorf("damage %+v in %d bytes", d, len(junk))
			}
		}
		after, _ := read(bytes.NewReader(append(bytes.Clone(junk), good...)))
		if len(after) != len(before)+1 || after[len(before)] != 1 {
			t.Errorf("%v without and %v with a good chunk behind it", before, after)
		}
	})
}
