package daemon

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink/encode"
	"github.com/tidegate/tidegate/wire"
)

// parseFormat checks the format of an export, which the file's name tells when
// nobody says.
func (c *bufferCall) parseFormat() error {
	if c.format == "" {
		c.format = map[string]string{".csv": "csv", ".chunks": "packed"}[filepath.Ext(c.out)]
	}
	switch c.format {
	case "":
		c.format = "ndjson"
	case "ndjson", "csv":
	case "packed":
		if c.query.Device != "" || c.query.Metric != "" {
			return errors.New("a packed file holds whole blocks, so -device and -metric have no place — hint: use -format ndjson")
		}
	default:
		return fmt.Errorf("-format: there is no %q — hint: ndjson, csv or packed", c.format)
	}
	return nil
}

// export copies readings out, the oldest first, into a file that is whole or
// not there.
func (c *bufferCall) export(ctx context.Context) error {
	c.query.NewestFirst = false
	inv, err := c.inventory(ctx)
	if err != nil {
		return err
	}
	if c.out == "" {
		out := bufio.NewWriterSize(c.stdout, 64<<10)
		n, err := c.exportTo(ctx, out, inv)
		err = errors.Join(err, out.Flush())
		c.sum(n, "standard output", err)
		return c.adviseQuery(err)
	}
	if _, err := os.Lstat(c.out); err == nil {
		return fmt.Errorf("%s is there already — hint: choose another name, or remove it", c.out)
	}
	var n exported
	err = writeWhole(c.out, func(w io.Writer) (err error) {
		n, err = c.exportTo(ctx, w, inv)
		return err
	})
	c.sum(n, c.out, err)
	return c.adviseQuery(err)
}

// sum says what was exported.
func (c *bufferCall) sum(n exported, to string, err error) {
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return
	}
	chunks := ""
	if c.format == "packed" {
		chunks = " in " + count(n.chunks, "chunk")
	}
	fmt.Fprintf(c.stderr, "%s%s, %s, to %s\n", count(n.readings, "reading"), chunks, conf.Size(n.bytes).Approx(), to)
}

// writeWhole makes a file that has all of its content, on stable storage, or
// does not make it. An error that leaves only readings out lets it stand.
func writeWhole(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tidegate-export-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it has another name when all went well
	buffered := bufio.NewWriterSize(f, 64<<10)
	left := write(buffered)
	if left != nil && !errors.Is(left, buffer.ErrLeftOut) {
		return errors.Join(left, f.Close())
	}
	if err := errors.Join(buffered.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close(), left)
}

// exported counts what an export has written.
type exported struct {
	readings, chunks uint64
	bytes            int64
}

// exportTo writes in the format of the call.
func (c *bufferCall) exportTo(ctx context.Context, w io.Writer, inv buffer.Inventory) (n exported, err error) {
	counted := countingWriter{w: w}
	defer func() { n.bytes = counted.n }()
	switch c.format {
	case "packed":
		return c.exportPacked(ctx, &counted, inv)
	case "csv":
		return c.exportCSV(ctx, &counted, inv)
	}
	lines, buf := newLines(c.gateway), []byte(nil)
	_, err = c.entries(ctx, inv, func(e buffer.Entry) error {
		n.readings++
		buf = append(lines.append(buf[:0], &e), '\n')
		_, err := counted.Write(buf)
		return err
	})
	return n, err
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
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

// exportCSV writes RFC 4180: a header, lines that end in CR LF.
func (c *bufferCall) exportCSV(ctx context.Context, w io.Writer, inv buffer.Inventory) (n exported, err error) {
	out := csv.NewWriter(w)
	out.UseCRLF = true
	if err := out.Write([]string{"time", "device", "metric", "unit", "value", "kind", "quality", "lane", "epoch", "seq"}); err != nil {
		return n, err
	}
	_, err = c.entries(ctx, inv, func(e buffer.Entry) error {
		n.readings++
		value, kind := api.CSVValue(e.Value)
		return out.Write([]string{
			time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano), e.Device, e.Metric, e.Unit, value, kind,
			api.QualityName(e.Flags), e.Lane.String(),
			fmt.Sprintf("%016x", e.Epoch), strconv.FormatUint(e.Seq, 10),
		})
	})
	out.Flush()
	return n, errors.Join(err, out.Error())
}

// The chunks of a packed file have about so many readings, or bytes before their
// blocks are merged, at the most. A bad spot of a stick costs one of them.
const (
	chunkReadings = 8 << 10
	chunkBytes    = 64 << 10
)

// packer makes chunks of the blocks that it is given, a lane apart.
type packer struct {
	w       io.Writer
	encoder *encode.Packed
	open    [reading.Lanes][]wire.Block
	bytes   [reading.Lanes]int
	count   [reading.Lanes]int
	body    []byte
	n       exported
}

// exportPacked writes chunks, one after the other: what the gateway would have
// sent, under the same numbers.
func (c *bufferCall) exportPacked(ctx context.Context, w io.Writer, inv buffer.Inventory) (exported, error) {
	p := packer{w: w, encoder: encode.NewPacked(c.gateway)}
	var err error
	if c.refused {
		err = p.addRefused(inv.Refused)
	} else {
		err = inv.Blocks(ctx, c.query, p.add)
	}
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return p.n, err
	}
	for lane := range p.open {
		if err := p.flush(lane); err != nil {
			return p.n, err
		}
	}
	return p.n, err
}

func (p *packer) addRefused(refused []buffer.Refused) error {
	seen := map[string]bool{}
	for _, q := range refused {
		key := fmt.Sprint(q.Lane, q.First, q.Last)
		if seen[key] {
			continue // by several sinks
		}
		seen[key] = true
		blk, _, err := wire.ParseBlock(q.Raw)
		if err != nil {
			return err
		}
		if err := errors.Join(p.add(blk), p.flush(int(blk.Lane))); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) add(blk wire.Block) error {
	lane := int(blk.Lane)
	if open := p.open[lane]; len(open) > 0 && (open[0].Epoch != blk.Epoch ||
		p.count[lane]+blk.Count > chunkReadings || p.bytes[lane]+len(blk.Raw) > chunkBytes) {
		if err := p.flush(lane); err != nil {
			return err
		}
	}
	own, _, err := wire.ParseBlock(slices.Clone(blk.Raw))
	if err != nil {
		return err
	}
	p.open[lane] = append(p.open[lane], own)
	p.bytes[lane] += len(blk.Raw)
	p.count[lane] += blk.Count
	p.n.readings += uint64(blk.Count)
	return nil
}

func (p *packer) flush(lane int) (err error) {
	if len(p.open[lane]) == 0 {
		return nil
	}
	blocks := p.open[lane]
	p.open[lane], p.bytes[lane], p.count[lane] = nil, 0, 0
	p.body, _, err = p.encoder.Encode(p.body[:0], blocks, math.MaxInt)
	if errors.Is(err, wire.ErrCorrupt) && len(blocks) > 1 { // not to spoil the others
		for _, blk := range blocks {
			p.open[lane] = []wire.Block{blk}
			if err := p.flush(lane); err != nil {
				return err
			}
		}
		return nil
	}
	if err != nil {
		return err
	}
	p.n.chunks++
	_, err = p.w.Write(p.body)
	return err
}
