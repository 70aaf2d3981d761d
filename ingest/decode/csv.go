package decode

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/tidegate/tidegate/reading"
)

// CSVConfig says what the rows of a CSV mean. The zero value takes rows without
// header, with commas, and names the values by their position.
type CSVConfig struct {
	TextConfig
	// Delimiter stands between the cells: any text of 1 to 8 bytes without
	// quotes and line ends. Empty means a comma. A blank means any run of
	// blanks and tabs, also before the first cell and behind the last.
	Delimiter string `toml:"delimiter"`
	// Comment begins lines that are left out. Empty means that there are none.
	Comment string `toml:"comment"`
	// SkipLines is how many lines at the beginning of each payload are left
	// out, whatever is in them.
	SkipLines int `toml:"skip_lines"`
	// Header says where the names of the columns come from:
	//
	//	""       from Columns, in their order; there is no header
	//	"first"  from the first line of each payload
	//	"auto"   from the first line if each of its cells is a word: no number,
	//	         time, truth value or missing cell, and it is more than a lone
	//	         word. It then also holds for later payloads without header of
	//	         the same topic and device
	Header string `toml:"header"`
	// HeaderLines is how many lines a header has: 1 for names, 2 if units
	// follow, more if there are further lines, which are left out. Zero means 1.
	HeaderLines int `toml:"header_lines"`
	// HeaderUnits takes the units from names such as "temp [°C]" and "temp (°C)".
	HeaderUnits bool `toml:"header_units"`
	// Columns are the columns: all of them in their order if there is no
	// header, and otherwise those that are to be called something else, or are
	// no plain values. Other columns of a header are plain values, except that
	// ts, time, timestamp and datetime tell the time.
	Columns []Column `toml:"columns"`
	// OnlyListed leaves out what is in a header, but not in Columns.
	OnlyListed bool `toml:"only_listed"`
	// Ragged takes rows that end before their last column.
	Ragged bool `toml:"ragged"`
}

// CSV decodes rows of cells as RFC 4180 describes them. Every row is a sample
// with its own time; blank lines are left out, and so are cells that are empty
// or say that there is no value. Cells may be quoted, with "" for a quote, and
// then may hold delimiters and line ends; a number in quotes is a text unless
// its column is of another type. Lines end with LF, CRLF or CR. Beyond the RFC,
// blanks around cells that are not quoted do not count, and one empty cell may
// follow the last column.
//
// Without header and columns, a lone value is named Frame.Metric, or "value"
// when that is empty, and several are named by their index: "value.0".
//
// A payload is taken whole or refused whole. Refused are: rows that have more
// cells than columns, or, unless Ragged, fewer; cells that are not what their
// column's type says; names and texts that are not UTF-8; quotes that are not
// closed or that stand within a cell; more than MaxReadings; and payloads that
// hold no value, unless they are a header.
type CSV struct {
	*textReader
	delimiter   string
	blanks      bool // the delimiter is any run of blanks
	comment     string
	header      headerMode
	headerLines int
	skipLines   int
	headerUnits bool
	onlyListed  bool
	ragged      bool
	columns     []column
	last        atomic.Pointer[csvHeader] // the header that was compiled last
}

type headerMode uint8

const (
	noHeader headerMode = iota
	firstHeader
	autoHeader
)

// NewCSV returns a decoder. It is safe for concurrent use.
func NewCSV(cfg CSVConfig) (*CSV, error) {
	text, err := newTextReader(cfg.TextConfig)
	if err != nil {
		return nil, err
	}
	columns, err := compileColumns(cfg.Columns)
	if err != nil {
		return nil, err
	}
	d := &CSV{
		textReader: text, delimiter: cfg.Delimiter, comment: cfg.Comment, headerLines: max(1, cfg.HeaderLines),
		skipLines: cfg.SkipLines, headerUnits: cfg.HeaderUnits, onlyListed: cfg.OnlyListed, ragged: cfg.Ragged, columns: columns,
	}
	if d.delimiter == "" {
		d.delimiter = ","
	}
	d.blanks = d.delimiter == " "
	switch cfg.Header {
	case "":
	case "first":
		d.header = firstHeader
	case "auto":
		d.header = autoHeader
	default:
		return nil, fmt.Errorf("header is %q — hint: \"first\", \"auto\", or leave it out if there is none", cfg.Header)
	}
	if err := d.check(cfg); err != nil {
		return nil, err
	}
	return d, nil
}

// check refuses configurations that make no sense.
func (d *CSV) check(cfg CSVConfig) error {
	if len(d.delimiter) > 8 || strings.ContainsAny(d.delimiter, "\"\r\n\x00") {
		return fmt.Errorf("delimiter %q — hint: 1 to 8 characters, without quotes and line ends; \"\\t\" is a tab, \" \" any run of blanks", d.delimiter)
	}
	if d.comma && d.delimiter == "," {
		return errors.New("delimiter is the decimal comma as well — hint: set delimiter = \";\"")
	}
	if d.header == noHeader && (cfg.HeaderLines != 0 || cfg.HeaderUnits || cfg.OnlyListed) {
		return fmt.Errorf("header_lines, header_units and only_listed are for a header, and there is none — hint: set header = \"first\" or \"auto\"")
	}
	if cfg.HeaderLines < 0 || cfg.HeaderLines > 16 || cfg.SkipLines < 0 || cfg.SkipLines > 1000 {
		return fmt.Errorf("header_lines is %d and skip_lines %d — hint: up to 16 and 1000", cfg.HeaderLines, cfg.SkipLines)
	}
	if d.header == autoHeader && cfg.HeaderLines > 1 {
		return fmt.Errorf("header_lines is %d and header \"auto\" — hint: a header of several lines must be in each payload: header = \"first\"", cfg.HeaderLines)
	}
	named := make(map[string]bool, len(cfg.Columns))
	values := 0
	for i, c := range d.columns {
		if named[c.name] && d.header != noHeader {
			return fmt.Errorf("columns: two have the name %q — hint: a name stands for all columns of the header that have it", c.name)
		}
		if c.metric == "" && c.kind < timeKind && d.header == noHeader || c.name == "" && d.header != noHeader {
			return fmt.Errorf("column %d has no name — hint: type = \"skip\" leaves a column out", i+1)
		}
		named[c.name] = true
		if c.kind < timeKind {
			values++
		}
	}
	if d.header == noHeader && len(d.columns) > 0 && values == 0 || d.onlyListed && values == 0 {
		return errors.New("columns hold no value — hint: list at least one that is a number, text or bool")
	}
	return nil
}

// Decode implements Decoder.
func (d *CSV) Decode(dst []reading.Reading, f Frame) ([]reading.Reading, error) {
	p := csvParser{
		CSV:     d,
		payload: withoutNUL(f.Payload),
		row:     row{textReader: d.textReader, out: dst, room: d.maxReadings, own: f.Device},
		metric:  f.Metric,
	}
	if p.metric == "" {
		p.metric = "value"
	}
	p.pos = len(p.payload) - len(bytes.TrimPrefix(p.payload, []byte("\ufeff")))
	for range d.skipLines {
		p.skipLine()
	}
	if err := p.readHeader(f); err != nil {
		return dst, err
	}
	for p.more() {
		if err := p.record(); err != nil {
			return dst, err
		}
	}
	if len(p.row.out) == len(dst) && p.heard == "" {
		return dst, malformed("no value found", p.pos, f.Payload, "a payload needs at least one cell with a value")
	}
	p.rememberHeader(f)
	return p.row.out, nil
}

// csvParser walks one payload.
type csvParser struct {
	*CSV
	payload []byte
	pos     int
	row     row
	metric  string   // of values without a name
	columns []column // nil if nobody has named them
	heard   string   // the header of this payload
	scratch []byte   // of a quoted cell with quotes in it
}

// record takes one row.
func (p *csvParser) record() error {
	p.row.begin()
	start := p.pos
	for i, last := 0, false; !last; i++ {
		var text []byte
		var quoted bool
		var err error
		at := p.pos
		if text, quoted, last, err = p.cell(); err != nil {
			return err
		}
		if i == maxColumns {
			return p.fail(at, "too many columns", "at most 512 are taken")
		}
		c, ok := p.column(i, last)
		if !ok && len(text) == 0 && last {
			break
		}
		if !ok {
			return p.fail(at, fmt.Sprintf("row with more than %d cells", len(p.columns)), "list the missing columns, or check the delimiter")
		}
		if problem := p.row.take(&c, text, quoted); problem != "" {
			return p.fail(at, fmt.Sprintf("column %d %q: %s", i+1, c.name, problem), hintFor(problem))
		}
		if last && i+1 < len(p.columns) && !p.ragged {
			return p.fail(start, fmt.Sprintf("row with %d cells instead of %d", i+1, len(p.columns)), "the payload may have been cut short; ragged = true takes such rows")
		}
	}
	if problem := p.row.end(); problem != "" {
		return p.fail(start, problem, hintFor(problem))
	}
	return nil
}

// column returns the column at index i, if there is one; last says that no
// further cell follows in the row.
func (p *csvParser) column(i int, last bool) (c column, ok bool) {
	if i < len(p.columns) {
		return p.columns[i], true
	}
	if p.columns != nil {
		return c, false
	}
	if i == 0 && last {
		return column{metric: p.metric}, true
	}
	var name [maxName]byte
	if len(p.metric) > maxName-4 {
		return c, false
	}
	return column{metric: p.textReader.names.find(fmt.Appendf(name[:0], "%s.%d", p.metric, i)).name}, true
}
