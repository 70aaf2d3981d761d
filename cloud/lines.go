package cloud

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/tidegate/tidegate/wire"
)

const (
	// maxLine is the longest line in bytes that is read.
	maxLine = 16 << 20
	// lineGroup is how many lines become one chunk at the most.
	lineGroup = 8 << 10
)

// ReadLines yields the readings of a file of lines as chunks, under the numbers that
// they have there. A line is a document, or one reading with its gateway, epoch and
// lane, as "tidegate buffer export", "tidegate-cloud export" and files of the
// encoding ndjson have them.
//
// Errors are as those of ReadChunks: a line that is neither is passed over, and
// yielded as a *Damage; so is a reading that cannot be kept, with an error that wraps
// wire.ErrCorrupt. Any other error is the last.
func ReadLines(r io.Reader) iter.Seq2[wire.Chunk, error] { return readLines(r, &transcoder{}) }

func readLines(r io.Reader, t *transcoder) iter.Seq2[wire.Chunk, error] {
	return func(yield func(wire.Chunk, error) bool) {
		f := lineFile{in: bufio.NewReaderSize(r, 64<<10), yield: yield, t: t}
		for f.next() {
		}
	}
}

// lineFile is a file of lines as it is read.
type lineFile struct {
	in    *bufio.Reader
	yield func(wire.Chunk, error) bool
	t     *transcoder
	line  []byte
	begin int64 // offset of the line
	end   int64
	group document // readings that belong together, so far
}

// next reads a line; false says that it was the last, or that nobody wants more.
func (f *lineFile) next() bool {
	whole, err := f.read()
	if errors.Is(err, io.EOF) {
		cut := f.end > f.begin
		return f.flush() && cut && f.yield(wire.Chunk{}, &Damage{From: f.begin, To: f.end, Cut: true}) && false
	}
	if err != nil {
		return f.flush() && f.yield(wire.Chunk{}, err) && false
	}
	if !whole {
		return f.damaged()
	}
	if len(f.line) == 0 {
		return true
	}
	var line struct {
		documentReading
		Gateway  string           `json:"gateway"`
		Epoch    string           `json:"epoch"`
		Lane     string           `json:"lane"`
		Readings *json.RawMessage `json:"readings"`
	}
	if json.Unmarshal(f.line, &line) != nil {
		return f.damaged()
	}
	if line.Readings != nil {
		if !f.flush() {
			return false
		}
		c, err := f.t.chunk(f.line)
		return f.yield(c, placed(err, f.begin))
	}
	return f.add(document{Gateway: line.Gateway, Epoch: line.Epoch, Lane: line.Lane}, line.documentReading)
}

// placed says where an error is.
func placed(err error, at int64) error {
	if errors.Is(err, errTooMany) {
		err = fmt.Errorf("%w: %w", err, wire.ErrCorrupt)
	}
	if err != nil {
		return fmt.Errorf("line at byte %d: %w", at, err)
	}
	return nil
}

func (f *lineFile) damaged() bool {
	return f.flush() && f.yield(wire.Chunk{}, &Damage{From: f.begin, To: f.end})
}

// read reads the next line, without its end. whole is false for one that is too long.
func (f *lineFile) read() (whole bool, err error) {
	f.begin, f.line, whole = f.end, f.line[:0], true
	for {
		piece, err := f.in.ReadSlice('\n')
		f.end += int64(len(piece))
		if whole = whole && len(f.line)+len(piece) <= maxLine; whole {
			f.line = append(f.line, piece...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		f.line = bytes.TrimRight(f.line, "\r\n")
		return whole, err
	}
}

// add adds a reading to those before it, if they may be one chunk.
func (f *lineFile) add(of document, r documentReading) bool {
	g := &f.group
	if n := len(g.Readings); n > 0 && (g.Gateway != of.Gateway || g.Epoch != of.Epoch || g.Lane != of.Lane ||
		g.Readings[n-1].Seq >= r.Seq || n >= lineGroup) && !f.flush() {
		return false
	}
	if len(g.Readings) == 0 {
		g.Gateway, g.Epoch, g.Lane, g.First = of.Gateway, of.Epoch, of.Lane, r.Seq
	}
	g.Readings, g.Last = append(g.Readings, r), r.Seq
	return true
}

// flush yields the readings so far. Where one of them cannot be kept, each goes for
// itself, so that it alone is left out.
func (f *lineFile) flush() bool {
	g := f.group
	f.group = document{Readings: g.Readings[:0]}
	if len(g.Readings) == 0 {
		return true
	}
	c, err := f.t.of(g)
	if err == nil {
		return f.yield(c, nil)
	}
	for _, r := range g.Readings {
		one := g
		one.First, one.Last, one.Readings = r.Seq, r.Seq, documentReadings{r}
		c, err := f.t.of(one)
		if err != nil {
			err = fmt.Errorf("reading %d of %s %s %s: %w", r.Seq, g.Gateway, g.Epoch, g.Lane, err)
		}
		if !f.yield(c, err) {
			return false
		}
	}
	return true
}
