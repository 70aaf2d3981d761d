package conf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// MaxBytes bounds the text that Decode looks at.
const MaxBytes = 1 << 20

// Document is a decoded text and what is wrong with it. Validation reports its
// own findings to Refuse, so that they get their place in the file, too.
type Document struct {
	name     string
	text     []byte
	places   places
	problems Problems
	// refused holds the keys that have a problem already. Neither they nor what
	// is in them can get another.
	refused map[string]bool
}

// Decode fills the struct that into points to from a TOML text. name stands
// before the problems, as the file's name. Where the text has a problem, into
// keeps what it held.
func Decode(name string, text []byte, into any) *Document {
	d, tree := parse(name, text)
	if tree != nil {
		d.places = locate(d.text)
		fill(d, tree, into)
	}
	return d
}

// byteOrderMark is what editors on Windows begin UTF-8 files with.
func byteOrderMark() []byte { return []byte("\xef\xbb\xbf") }

// parse reads a text; nil if it is no TOML.
func parse(name string, text []byte) (*Document, map[string]any) {
	text = bytes.TrimPrefix(text, byteOrderMark()) // which is a syntax error in TOML
	d := &Document{name: name, text: text, refused: map[string]bool{}}
	if len(text) > MaxBytes {
		d.problems = Problems{{File: name, What: fmt.Sprintf("larger than %v", Size(MaxBytes)), Hint: "check that it is a configuration file"}}
		return d, nil
	}
	tree := map[string]any{}
	if err := toml.Unmarshal(text, &tree); err != nil {
		d.refuseSyntax(err)
		return d, nil
	}
	return d, tree
}

// Refuse reports a problem with the value of a key, "" being the whole file.
// A key that has a problem already, or is in a table that has, gets no second
// one.
func (d *Document) Refuse(key, hint, what string, args ...any) {
	at, found := d.places.find(key)
	d.refuse(key, at.value, found, hint, fmt.Sprintf(what, args...))
}

// refuseKey reports a problem with a key as such.
func (d *Document) refuseKey(key, hint, what string) {
	at, found := d.places.find(key)
	d.refuse(key, at.key, found, hint, what)
}

func (d *Document) refuse(key string, offset uint32, found bool, hint, what string) {
	for k := key; k != ""; k = parent(k) {
		if d.refused[k] {
			return
		}
	}
	d.refused[key] = true
	p := Problem{File: d.name, Key: key, What: what, Hint: hint}
	if found {
		p.Line, p.Column = lineColumn(d.text, offset)
	}
	d.problems = append(d.problems, p)
}

func (d *Document) refuseSyntax(err error) {
	p := Problem{File: d.name, What: strings.TrimPrefix(err.Error(), "toml: "), Hint: "the file is no valid TOML from here on; see https://toml.io"}
	var fault *toml.DecodeError
	if errors.As(err, &fault) {
		p.Line, p.Column = fault.Position()
	}
	if bytes.HasPrefix(d.text, []byte("\xff\xfe")) || bytes.HasPrefix(d.text, []byte("\xfe\xff")) {
		p.What, p.Hint = "the text is UTF-16, as some programs on Windows write it", "save it as UTF-8"
	}
	d.problems = Problems{p}
}

// Err returns all problems so far as Problems, or nil.
func (d *Document) Err() error {
	if len(d.problems) == 0 {
		return nil
	}
	d.problems.sort()
	return d.problems
}
