package decode

import "bytes"

// node is a value of a JSON text. The nodes of a text stand in its order, so
// the first child of a node is the next one, and next is its next sibling.
type node struct {
	// The member's name is text[key:keyEnd], or, if that has escapes in it,
	// names[-key-1:keyEnd] of the indexer.
	key, keyEnd int32
	start, end  int32
	next        int32
	kind        byte // the value's first character
}

// keptNodes bounds what a decoder keeps for its next payload, 1 MiB.
const keptNodes = 1 << 20 / 24

// indexed returns the nodes of a text. They are in memory from the template's
// scratch, to which release returns them.
func (t *template) indexed(text []byte) (*indexer, error) {
	x, _ := t.scratch.Get().(*indexer)
	if x == nil {
		x = new(indexer)
	}
	x.scanner, x.depth = scanner{text: text}, 0
	if len(text) > 1<<30 {
		return x, x.fail("too long", "at most 1 GiB")
	}
	most := 1 + bytes.Count(text, []byte{','}) + bytes.Count(text, []byte{'['}) + bytes.Count(text, []byte{'{'})
	if cap(x.nodes) < most {
		x.nodes = make([]node, 0, most)
	}
	x.nodes, x.unescaped = x.nodes[:0], x.unescaped[:0]
	if err := x.value(0, 0); err != nil {
		return x, err
	}
	return x, x.end()
}

func (t *template) release(x *indexer) {
	x.text = nil
	if cap(x.nodes) <= keptNodes && cap(x.unescaped) <= keptNodes {
		t.scratch.Put(x)
	}
}

// indexer finds the nodes of a text.
type indexer struct {
	scanner
	nodes     []node
	unescaped []byte // names with escapes in them, without
	depth     int
}

// value takes a value, whose member's name is at key.
func (x *indexer) value(key, keyEnd int) (err error) {
	kind := x.next()
	at := len(x.nodes)
	x.nodes = append(x.nodes, node{key: int32(key), keyEnd: int32(keyEnd), start: int32(x.pos), kind: kind})
	switch kind {
	case '{':
		err = x.object()
	case '[':
		err = x.array()
	case '"':
		_, err = x.quoted()
	case 't':
		err = x.word("true")
	case 'f':
		err = x.word("false")
	case 'n':
		err = x.word("null")
	default:
		_, err = x.number()
	}
	x.nodes[at].end, x.nodes[at].next = int32(x.pos), int32(len(x.nodes))
	return err
}

func (x *indexer) object() error {
	if err := x.open(); err != nil {
		return err
	}
	for more := x.next() != '}'; more; more = x.comma() {
		x.next()
		key := x.pos + 1
		name, err := x.key()
		if err != nil {
			return err
		}
		end := key + bytes.LastIndexByte(x.text[key:x.pos], '"')
		if bytes.IndexByte(x.text[key:end], '\\') >= 0 {
			key = -len(x.unescaped) - 1
			x.unescaped = append(x.unescaped, name...)
			end = len(x.unescaped)
		}
		if err := x.value(key, end); err != nil {
			return err
		}
	}
	return x.close('}', `after a field, "," or "}" must follow`)
}

func (x *indexer) array() error {
	if err := x.open(); err != nil {
		return err
	}
	for more := x.next() != ']'; more; more = x.comma() {
		if err := x.value(0, 0); err != nil {
			return err
		}
	}
	return x.close(']', `after an element, "," or "]" must follow`)
}

// open and close are those of parser.
func (x *indexer) open() error {
	x.depth++
	if x.depth > maxDepth {
		return x.fail("nested too deeply", "at most 32 levels are taken")
	}
	x.pos++
	return nil
}

func (x *indexer) close(bracket byte, hint string) error {
	if x.next() != bracket {
		return x.fail("unexpected "+x.found(), hint)
	}
	x.depth--
	x.pos++
	return nil
}
