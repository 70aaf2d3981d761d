package cloud

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tidegate/tidegate/wire"
)

// ReadChunks yields the chunks of a file that holds nothing but chunks, one
// after the other: what a gateway's file uplink writes, or saved deliveries
// joined with cat. It ends at the end of r or with the first error; a chunk is
// valid until the next.
func ReadChunks(r io.Reader) iter.Seq2[wire.Chunk, error] {
	return func(yield func(wire.Chunk, error) bool) {
		for n := 1; ; n++ {
			raw, err := readFrame(r)
			if err == io.EOF {
				return
			}
			var c wire.Chunk
			if err == nil {
				c, err = wire.ParseChunk(raw)
			}
			if err != nil {
				yield(wire.Chunk{}, fmt.Errorf("chunk %d of the file: %w", n, err))
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// framePrefix is what every chunk of every version begins with: magic, version,
// flags, checksum, and the length of the whole in the last four bytes.
const framePrefix = 12

func readFrame(r io.Reader) ([]byte, error) {
	prefix := make([]byte, framePrefix)
	if _, err := io.ReadFull(r, prefix); errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("the file ends early: %w", wire.ErrCorrupt)
	} else if err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(prefix[8:])
	if size < framePrefix || size > wire.MaxChunk {
		return nil, fmt.Errorf("length of %d bytes: %w", size, wire.ErrCorrupt)
	}
	// Read as it comes: the length is not yet known to be true.
	raw, err := io.ReadAll(io.LimitReader(r, int64(size)-framePrefix))
	if err == nil && len(raw) < int(size)-framePrefix {
		err = fmt.Errorf("the file ends early: %w", wire.ErrCorrupt)
	}
	return append(prefix, raw...), err
}
