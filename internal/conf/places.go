package conf

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// place is where a key and its value begin, as offsets into the text.
type place struct{ key, value uint32 }

// places maps the path of every key, table and element of a document to where
// it stands. A table that has several headers stands at its first.
type places map[string]place

// maxDepth bounds the paths that places knows. Ours end at five; without a
// bound, a file of nothing but brackets costs the square of its size.
const maxDepth = 12

// locate walks the syntax tree of a valid document.
func locate(text []byte) places {
	l := locator{places: places{}, elements: map[string]int{}}
	parser := unstable.Parser{}
	parser.Reset(text)
	table := ""
	for parser.NextExpression() {
		switch e := parser.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = l.header(e)
		case unstable.KeyValue:
			l.keyValue(table, e, depth(table))
		}
	}
	return l.places
}

type locator struct {
	places places
	// elements counts the [[headers]] of each array of tables so far.
	elements map[string]int
}

// header notes the tables that a [header] names and returns the path of the
// last one.
func (l *locator) header(e *unstable.Node) string {
	path, parts := "", 0
	for key := e.Key(); key.Next() && parts < maxDepth; parts++ {
		node := key.Node()
		path = join(path, string(node.Data))
		l.note(path, node.Raw.Offset, node.Raw.Offset)
		if e.Kind == unstable.ArrayTable && key.IsLast() {
			l.elements[path]++
		}
		if n := l.elements[path]; n > 0 {
			path = element(path, n-1)
			l.note(path, node.Raw.Offset, node.Raw.Offset)
		}
	}
	return path
}

// keyValue notes a key, which may be dotted, and what is in its value.
func (l *locator) keyValue(path string, e *unstable.Node, depth int) {
	var start uint32
	for key := e.Key(); key.Next() && depth < maxDepth; depth++ {
		node := key.Node()
		path = join(path, string(node.Data))
		start = node.Raw.Offset
		l.note(path, start, start)
	}
	l.value(path, e.Value(), start, depth)
}

// value notes where a value begins and goes into lists and inline tables. Lists
// have no place of their own in the tree, so they stand where their key does.
func (l *locator) value(path string, v *unstable.Node, start uint32, depth int) {
	if depth >= maxDepth {
		return
	}
	if v.Raw.Length > 0 {
		start = v.Raw.Offset
	}
	l.places[path] = place{key: l.places[path].key, value: start}
	switch v.Kind {
	case unstable.Array:
		i := 0
		for child := v.Children(); child.Next(); i++ {
			l.note(element(path, i), start, start)
			l.value(element(path, i), child.Node(), start, depth+1)
		}
	case unstable.InlineTable:
		for child := v.Children(); child.Next(); {
			l.keyValue(path, child.Node(), depth+1)
		}
	}
}

func (l *locator) note(path string, key, value uint32) {
	if _, seen := l.places[path]; !seen {
		l.places[path] = place{key, value}
	}
}

// find returns the place of path, or of the nearest table around it.
func (ps places) find(path string) (place, bool) {
	for ; path != ""; path = parent(path) {
		if p, ok := ps[path]; ok {
			return p, true
		}
	}
	return place{}, false
}

// parent returns the path of what a path is in: the table of a key, the list of
// an element.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// join appends a key to a dotted path. Keys that are not bare are quoted, which
// keeps paths unambiguous and printable.
func join(path, key string) string {
	bare := key != ""
	for _, c := range []byte(key) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		bare = bare && (letter || c >= '0' && c <= '9' || c == '_' || c == '-')
	}
	if !bare {
		key = quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// depth is the number of parts of a path.
func depth(path string) int {
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, ".")
}

// lineColumn turns an offset into a line and a column, both from 1.
func lineColumn(text []byte, offset uint32) (line, column int) {
	before := text[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return 1 + bytes.Count(before, []byte{'\n'}), 1 + utf8.RuneCount(before[start:])
}

// Path returns the path of a key in a table, for Refuse, whatever the key contains.
func Path(table, key string) string { return join(table, key) }
