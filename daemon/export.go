package daemon

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// export is a copy of readings: for "tidegate buffer export", for a phone and for a
// stick.
type export struct {
	gateway string
	// format is ndjson, csv or packed.
	format    string
	query     buffer.Query
	refused   bool // of the quarantine, not of the journal
	inventory buffer.Inventory
	// told, if not nil, hears how far it is.
	told func(exported)
	// there, if not nil, says whether the file that was just made may be filled.
	there func() error

	n exported
	w io.Writer
}

// extensions are how the names of files end, by format.
func extensions() map[string]string {
	return map[string]string{"ndjson": ".ndjson", "csv": ".csv", "packed": ".chunks"}
}

func noFormat(name string) error {
	return fmt.Errorf("there is no %q — hint: ndjson, csv or packed", name)
}

// unfinished begins the name of a file that is not whole yet.
const unfinished = ".tidegate-export-"

// writeWhole makes a file that has all of its content, on stable storage, or
// does not make it. An error that leaves only readings out lets it stand.
func writeWhole(path string, write func(io.Writer) error) error {
	var left error
	err := whole.Make(path, unfinished, func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 64<<10)
		if left = write(buffered); left != nil && !errors.Is(left, buffer.ErrLeftOut) {
			return left
		}
		return buffered.Flush()
	})
	if err != nil {
		return err
	}
	return left
}

// notWritten makes an error of writeWhole one for who has named the file: he knows nothing of
// the one that would have become it.
func notWritten(path string, err error) error {
	at, ok := errors.AsType[*fs.PathError](err)
	if !ok || !strings.HasPrefix(filepath.Base(at.Path), unfinished) {
		return err
	}
	hint := "see dmesg, or choose another place"
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "choose a folder that you may write to"
	case errors.Is(err, fs.ErrNotExist):
		hint = "make the folder first: " + filepath.Dir(path)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		hint = "make room, or choose another place"
	case errors.Is(err, syscall.EROFS):
		hint = "mount it writable, or choose another place"
	}
	return fmt.Errorf("write %s: %w — hint: %s", path, at.Err, hint)
}

// exported counts what an export has written.
type exported struct {
	readings, chunks uint64
	bytes            int64
}

// to writes the copy. Its error may be buffer.ErrLeftOut, when all the rest is
// there.
func (e *export) to(ctx context.Context, w io.Writer) (exported, error) {
	e.n, e.w = exported{}, w
	var err error
	switch e.format {
	case "packed":
		err = e.packed(ctx)
	case "csv":
		err = e.csv(ctx)
	default:
		lines, buf := newLines(e.gateway), []byte(nil)
		_, err = e.entries(ctx, func(entry buffer.Entry) error {
			e.n.readings++
			buf = append(lines.append(buf[:0], &entry), '\n')
			_, err := e.Write(buf)
			return err
		})
	}
	return e.n, err
}

// Write implements io.Writer: it counts, and tells how far it is.
func (e *export) Write(b []byte) (int, error) {
	n, err := e.w.Write(b)
	e.n.bytes += int64(n)
	if e.told != nil {
		e.told(e.n)
	}
	return n, err
}

// file makes a file of it that is whole or not there.
func (e *export) file(ctx context.Context, path string) (n exported, err error) {
	err = writeWhole(path, func(w io.Writer) (err error) {
		if e.there != nil {
			if err := e.there(); err != nil {
				return err
			}
		}
		n, err = e.to(ctx, w)
		return err
	})
	return n, err
}

// lines writes readings as "tidegate-cloud export" does.
type lines struct {
	gateway []byte // as JSON
	reading []byte
}

func newLines(gateway string) *lines {
	name, _ := json.Marshal(gateway) // a text always marshals
	return &lines{gateway: name}
}

func (l *lines) append(dst []byte, e *buffer.Entry) []byte {
	dst = append(append(dst, `{"gateway":`...), l.gateway...)
	dst = fmt.Appendf(dst, `,"epoch":"%016x","lane":"%s",`, e.Epoch, e.Lane)
	l.reading = encode.AppendReading(l.reading[:0], e.Seq, &e.Reading)
	return append(dst, l.reading[1:]...) // goes on in the object
}

// csv writes RFC 4180: a header, lines that end in CR LF.
func (e *export) csv(ctx context.Context) error {
	out := csv.NewWriter(e)
	out.UseCRLF = true
	if err := out.Write([]string{"time", "device", "metric", "unit", "value", "kind", "quality", "lane", "epoch", "seq"}); err != nil {
		return err
	}
	n := &e.n
	_, err := e.entries(ctx, func(e buffer.Entry) error {
		n.readings++
		value, kind := api.CSVValue(e.Value)
		return out.Write([]string{
			time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano), api.CSVText(e.Device), api.CSVText(e.Metric), api.CSVText(e.Unit), value, kind,
			api.QualityName(e.Flags), e.Lane.String(),
			fmt.Sprintf("%016x", e.Epoch), strconv.FormatUint(e.Seq, 10),
		})
	})
	out.Flush()
	return errors.Join(err, out.Error())
}

// entries visits what is asked for, of the journal or of the quarantine.
func (e *export) entries(ctx context.Context, visit func(buffer.Entry) error) (buffer.Token, error) {
	if !e.refused {
		return e.inventory.History(ctx, e.query, visit)
	}
	dec, visited, unread := wire.NewDecoder(), 0, error(nil)
	for _, q := range e.inventory.Refused {
		blk, _, err := wire.ParseBlock(q.Raw)
		var rs []reading.Reading
		if err == nil {
			rs, err = dec.Decode(nil, blk)
		}
		if err != nil {
			unread = fmt.Errorf("%w: refused by %s, %s %d..%d: %w", buffer.ErrLeftOut, q.Sink, q.Lane, q.First, q.Last, err)
			continue
		}
		for i := range rs {
			if !e.query.Chooses(&rs[i]) || e.query.Limit > 0 && visited == e.query.Limit {
				continue
			}
			visited++
			if err := visit(buffer.Entry{Reading: rs[i], Epoch: blk.Epoch, Seq: blk.First + uint64(i)}); err != nil {
				return "", err
			}
		}
	}
	return "", unread
}
