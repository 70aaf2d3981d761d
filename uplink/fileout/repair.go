package fileout

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/tidegate/tidegate/wire"
)

// whole returns where the last whole record of a file of the size ends; clean says
// that all before it is whole records, too. Of a line it remembers maxLine bytes.
func (k kind) whole(r io.ReaderAt, size int64) (end int64, clean bool, err error) {
	if k == chunks {
		return wholeChunks(r, size)
	}
	return k.wholeLines(io.NewSectionReader(r, 0, size))
}

// maxLine is the longest line in bytes that counts as a record.
const maxLine = 16 << 20

func (k kind) wholeLines(r io.Reader) (end int64, clean bool, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	var line []byte
	begin, at, clean := int64(0), int64(0), true
	for {
		piece, err := in.ReadSlice('\n')
		at += int64(len(piece))
		if len(line) <= maxLine {
			line = append(line, piece...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF):
			return end, clean, nil
		case err != nil:
			return 0, false, err
		}
		if len(line) <= maxLine && k.valid(line[:len(line)-1]) {
			clean = clean && begin == end
			end = at
		}
		line, begin = line[:0], at
	}
}

// framePrefix is what a chunk begins with: magic, version, flags, CRC-32C of all
// but itself, length of all (wire/FORMAT.md, 2).
const framePrefix = 12

// maxVain bounds the bytes that are checked and turn out to be no chunk.
const maxVain = 1 << 30

// wholeChunks goes from chunk to chunk. Behind one that is not whole it looks for
// the next: damage in the middle must not take away what was acknowledged later.
func wholeChunks(r io.ReaderAt, size int64) (end int64, clean bool, err error) {
	clean = true
	vain := int64(0)
	for at := int64(0); at+framePrefix <= size; {
		n, ok, err := wholeChunk(r, at, size)
		if err != nil {
			return 0, false, err
		}
		if ok {
			clean = clean && at == end
			at += n
			end = at
			continue
		}
		if vain += n; vain > maxVain {
			return end, false, nil
		}
		if at, err = nextChunk(r, at+1, size); err != nil {
			return 0, false, err
		}
	}
	return end, clean, nil
}

// wholeChunk reports whether a whole chunk begins at a place, and its length.
func wholeChunk(r io.ReaderAt, at, size int64) (n int64, ok bool, err error) {
	var prefix [framePrefix]byte
	if _, err := r.ReadAt(prefix[:], at); err != nil {
		return 0, false, err
	}
	n = int64(binary.LittleEndian.Uint32(prefix[8:]))
	if string(prefix[:2]) != chunkMagic || n < framePrefix || n > wire.MaxChunk || n > size-at {
		return 0, false, nil
	}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	sum.Write(prefix[:4])
	sum.Write(prefix[8:])
	if _, err := io.Copy(sum, io.NewSectionReader(r, at+framePrefix, n-framePrefix)); err != nil {
		return 0, false, err
	}
	return n, sum.Sum32() == binary.LittleEndian.Uint32(prefix[4:]), nil
}

const chunkMagic = "tC"

// nextChunk returns where the magic of a chunk is found next, or size.
func nextChunk(r io.ReaderAt, at, size int64) (int64, error) {
	buf := make([]byte, 64<<10)
	for at < size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-at)], at)
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if i := bytes.Index(buf[:n], []byte(chunkMagic)); i >= 0 {
			return at + int64(i), nil
		}
		if n < len(chunkMagic) {
			break
		}
		at += int64(n - len(chunkMagic) + 1) // it may lie across the border
	}
	return size, nil
}
