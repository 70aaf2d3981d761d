package conf

import (
	"bytes"

	"github.com/pelletier/go-toml/v2/unstable"
)

// Piece is a stretch of whole lines of a TOML text: a header, or a key with its value,
// with the comments that belong to it. All pieces of a text, one after the other, are the
// text, but for a byte order mark.
type Piece struct {
	// Table is the table at the root that it belongs to, or its key if it is there.
	// It is empty for what stands behind everything else.
	Table string
	// Path is the dotted table that a header names or that a key is in, Key that key,
	// empty for a header.
	Path, Key string
	// Before are the comments above, Body the lines of the expression, and After the
	// comments below it.
	Before, Body, After []byte
	// Name is the part of Body before the sign and the value, or the header's.
	Name []byte
}

// Pieces takes a text apart. Its error is of type Problems. Comments that follow a line
// directly belong to it, those behind an empty line to what comes next.
func Pieces(name string, text []byte) ([]Piece, error) {
	d, tree := parse(name, text)
	if tree == nil {
		return nil, d.Err()
	}
	c := cutter{text: d.text}
	parser := unstable.Parser{}
	parser.Reset(d.text)
	for parser.NextExpression() {
		switch e := parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable, unstable.KeyValue:
			c.expression(e)
		}
	}
	c.gap(len(d.text))
	if rest := c.text[c.done:]; len(rest) > 0 {
		c.pieces = append(c.pieces, Piece{Before: rest})
	}
	return c.pieces, nil
}

// cutter makes pieces of a text that is valid.
type cutter struct {
	text      []byte
	pieces    []Piece
	done      int    // what is in pieces
	top, path string // of the header that was last
	open      int    // where the last expression goes on from, if its end is not known; else -1
}

func (c *cutter) expression(e *unstable.Node) {
	first, last, p := -1, 0, Piece{Table: c.top, Path: c.path}
	dotted := ""
	for key := e.Key(); key.Next(); {
		node := key.Node()
		if first < 0 {
			first = int(node.Raw.Offset)
			if e.Kind != unstable.KeyValue || c.path == "" {
				p.Table = string(node.Data)
			}
		}
		last = int(node.Raw.Offset + node.Raw.Length)
		dotted = join(dotted, string(node.Data))
	}
	line := bytes.LastIndexByte(c.text[:first], '\n') + 1
	c.gap(line)
	p.Before, p.Name = c.text[c.done:line], bytes.TrimRight(c.text[line:last], " \t")
	end := last
	if e.Kind == unstable.KeyValue {
		p.Key = dotted
		// Of other values the tree does not know the end.
		if v := e.Value(); v.Kind != unstable.Array && v.Kind != unstable.InlineTable && v.Raw.Length > 0 {
			end = int(v.Raw.Offset + v.Raw.Length)
		} else {
			end = -1
		}
	} else {
		c.top, c.path = p.Table, dotted
		p.Path = dotted
	}
	c.open, c.done = -1, line
	if end < 0 {
		c.open = line
	} else {
		c.done = c.lineEnd(end)
		p.Body = c.text[line:c.done]
	}
	c.pieces = append(c.pieces, p)
}

// gap gives what stands before the line to the piece before it, as far as it belongs
// there.
func (c *cutter) gap(line int) {
	if len(c.pieces) == 0 {
		return
	}
	p := &c.pieces[len(c.pieces)-1]
	if c.open >= 0 {
		p.Body, c.done = c.text[c.open:line], line
		return
	}
	start := c.done
	for c.done < line {
		end := c.lineEnd(c.done)
		if len(bytes.TrimSpace(c.text[c.done:end])) == 0 {
			break
		}
		c.done = end
	}
	p.After = c.text[start:c.done]
}

// lineEnd is where the line with the byte ends, with its end.
func (c *cutter) lineEnd(at int) int {
	if n := bytes.IndexByte(c.text[at:], '\n'); n >= 0 {
		return at + n + 1
	}
	return len(c.text)
}
