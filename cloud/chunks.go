package cloud

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/tidegate/tidegate/wire"
)

// Damage is a part of a file of chunks that holds none: it was changed, or the
// file was cut off. It wraps wire.ErrCorrupt.
type Damage struct {
	// From and To are the offset of its first byte and of the one behind its
	// last.
	From, To int64
	// Cut says that a chunk begins at From and the file ends before it does.
	Cut bool
}

// Error says where and what.
func (d *Damage) Error() string {
	if d.Cut {
		return fmt.Sprintf("the file ends at byte %d, in the middle of the chunk that begins at byte %d", d.To, d.From)
	}
	return fmt.Sprintf("bytes %d to %d are damaged", d.From, d.To-1)
}

// Unwrap returns wire.ErrCorrupt.
func (d *Damage) Unwrap() error { return wire.ErrCorrupt }

// ReadChunks yields the chunks of a file that holds nothing but chunks, one
// after the other: what "tidegate buffer export" writes, or saved deliveries
// joined with cat. A chunk is valid until the next.
//
// What is damaged is passed over, and yielded as an error of type *Damage; so is
// a whole chunk of a later version, with an error that wraps wire.ErrVersion.
// Both go on with the next chunk. Any other error is the last.
func ReadChunks(r io.Reader) iter.Seq2[wire.Chunk, error] {
	return func(yield func(wire.Chunk, error) bool) {
		f := chunkFile{r: r}
		for {
			c, damage, err := f.next()
			if damage != nil && !yield(wire.Chunk{}, damage) || err == io.EOF {
				return
			}
			if !yield(c, err) || err != nil && !errors.Is(err, wire.ErrVersion) {
				return
			}
		}
	}
}

// framePrefix is what every chunk of every version begins with: magic, version,
// flags, checksum, and the length of the whole in the last four bytes.
const framePrefix = 12

// chunkMagic is what a chunk begins with.
const chunkMagic = "tC"

// maxVain bounds the bytes that are checked and turn out to be no chunk: a file
// that is full of beginnings would take for ever.
const maxVain = 1 << 30

// chunkFile is a file of chunks as it is read.
type chunkFile struct {
	r    io.Reader
	err  error  // why no more can be read
	buf  []byte // what follows off, as far as it was read
	off  int64
	vain int64
}

// next returns the next chunk, and what is damaged before it. io.EOF means that
// there is none; what begins with a whole frame and is no chunk, for its
// version, is an error of its own.
func (f *chunkFile) next() (c wire.Chunk, damage *Damage, err error) {
	for {
		size, begins := f.frame()
		if size > 0 {
			c, err = wire.ParseChunk(f.buf[:size])
			if err == nil || errors.Is(err, wire.ErrVersion) {
				err = f.version(err)
				if damage != nil {
					damage.Cut = false
				}
				f.drop(size)
				return c, damage, err
			}
			f.vain += int64(size)
		}
		if f.err != nil && f.err != io.EOF {
			return c, damage, f.err
		}
		if len(f.buf) == 0 {
			return c, damage, io.EOF
		}
		if f.vain > maxVain {
			return c, damage, fmt.Errorf("from byte %d on it is not a file of chunks: %w", f.off, wire.ErrCorrupt)
		}
		if damage == nil {
			damage = &Damage{From: f.off, Cut: begins && size == 0}
		}
		f.search()
		damage.To = f.off
	}
}

func (f *chunkFile) version(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("chunk at byte %d: %w", f.off, err)
}

// frame returns the size of the frame that begins here; 0 for none, or for one
// that is not all there: begins says that it looks like one.
func (f *chunkFile) frame() (size int, begins bool) {
	if !f.fill(framePrefix) || string(f.buf[:len(chunkMagic)]) != chunkMagic {
		return 0, bytes.HasPrefix([]byte(chunkMagic), f.buf[:min(len(f.buf), len(chunkMagic))])
	}
	n := binary.LittleEndian.Uint32(f.buf[8:])
	if n < framePrefix || n > wire.MaxChunk {
		return 0, false
	}
	if !f.fill(int(n)) {
		return 0, true
	}
	return int(n), true
}

// search drops what comes before the next place where a frame may begin, at
// least one byte.
func (f *chunkFile) search() {
	f.drop(1)
	for f.fill(len(chunkMagic)) {
		if at := bytes.Index(f.buf, []byte(chunkMagic)); at >= 0 {
			f.drop(at)
			return
		}
		f.drop(len(f.buf) - 1)
	}
	f.drop(len(f.buf))
}

func (f *chunkFile) drop(n int) {
	f.buf, f.off = f.buf[n:], f.off+int64(n)
}

// readStep is how much is read at once: a length that was not checked yet is no
// reason to take its memory.
const readStep = 128 << 10

// fill says whether n bytes follow, and reads them.
func (f *chunkFile) fill(n int) bool {
	for len(f.buf) < n && f.err == nil {
		f.buf = slices.Grow(f.buf, readStep)
		var got int
		got, f.err = f.r.Read(f.buf[len(f.buf):cap(f.buf)])
		f.buf = f.buf[:len(f.buf)+got]
	}
	return len(f.buf) >= n
}
