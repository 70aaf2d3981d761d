package dialect

import (
	"encoding/binary"
	"math"

	"github.com/tidegate/tidegate/ingest/sparkplug"
)

// birth is what an edge node, or a device of it, has announced when it was born.
type birth struct {
	// generation tells the births of an edge node apart; that of a device is the
	// edge node's.
	generation uint64
	// session is the node's bdSeq plus one; zero if it has not told one.
	session uint64
	metrics []announced

	dense  []*announced          // by alias, for those that are small numbers
	sparse map[uint64]*announced // the others
	byName map[string]*announced
}

// aliased returns the metric that an alias stands for; nil if it is none's.
func (b *birth) aliased(alias uint64) *announced {
	if alias < uint64(len(b.dense)) {
		return b.dense[alias]
	}
	return b.sparse[alias]
}

// index makes metrics findable by alias and by name. Most peers count aliases
// from zero; those that hash names must not cost memory.
func (b *birth) index() {
	b.dense = make([]*announced, 2*len(b.metrics)+16)
	b.sparse, b.byName = map[uint64]*announced{}, make(map[string]*announced, len(b.metrics))
	for i := range b.metrics {
		m := &b.metrics[i]
		b.byName[m.name] = m
		switch {
		case !m.hasAlias:
		case m.alias < uint64(len(b.dense)):
			b.dense[m.alias] = m
		default:
			b.sparse[m.alias] = m
		}
	}
}

// announced is what a birth says about a metric.
type announced struct {
	name, unit string
	typ        sparkplug.Type
	alias      uint64
	hasAlias   bool
}

// birthVersion is the first byte of the notes that births are remembered in.
// Behind it come, all numbers but the first as uvarints: the generation in 8
// bytes, the session, and for each metric
//
//	alias plus one, or zero; datatype;
//	how many bytes the name has in common with the one before; how many follow,
//	and these; how many bytes the unit has, and these
const birthVersion = 1

// birthHead is the length of version and generation.
const birthHead = 9

// note returns b as it is remembered.
func (b *birth) note() []byte {
	out := binary.LittleEndian.AppendUint64([]byte{birthVersion}, b.generation)
	out = binary.AppendUvarint(out, b.session)
	before := ""
	for _, m := range b.metrics {
		alias := uint64(0)
		if m.hasAlias {
			alias = m.alias + 1
		}
		out = binary.AppendUvarint(out, alias)
		out = append(out, byte(m.typ))
		same := 0
		for same < len(before) && same < len(m.name) && before[same] == m.name[same] {
			same++
		}
		out = binary.AppendUvarint(out, uint64(same))
		out = appendText(out, m.name[same:])
		out = appendText(out, m.unit)
		before = m.name
	}
	return out
}

func appendText(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

// generationOf returns the generation in a note; zero if it is none.
func generationOf(note []byte) uint64 {
	if len(note) < birthHead || note[0] != birthVersion {
		return 0
	}
	return binary.LittleEndian.Uint64(note[1:])
}

// parseBirth is the inverse of note; nil if it is none.
func parseBirth(note []byte) *birth {
	if len(note) < birthHead || note[0] != birthVersion {
		return nil
	}
	b := &birth{generation: generationOf(note)}
	r := noteReader{rest: note[birthHead:]}
	b.session = r.number()
	before := ""
	for len(r.rest) > 0 && !r.bad {
		var m announced
		alias := r.number()
		m.alias, m.hasAlias = alias-1, alias > 0
		m.typ = sparkplug.Type(r.number())
		same := r.number()
		if same > uint64(len(before)) {
			return nil
		}
		m.name = before[:same] + r.text()
		m.unit = r.text()
		before = m.name
		b.metrics = append(b.metrics, m)
	}
	if r.bad {
		return nil
	}
	b.index()
	return b
}

// noteReader takes numbers and texts from a note.
type noteReader struct {
	rest []byte
	bad  bool
}

func (r *noteReader) number() uint64 {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *noteReader) text() string {
	n := r.number()
	if n > math.MaxInt32 || int(n) > len(r.rest) {
		r.bad, r.rest = true, nil
		return ""
	}
	text := string(r.rest[:n])
	r.rest = r.rest[n:]
	return text
}
