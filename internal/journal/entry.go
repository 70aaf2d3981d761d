package journal

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bounds of an entry. The journal takes far more; no record of a gateway should.
const (
	mostFields = 64       // of attributes
	longest    = 32 << 10 // bytes of a value
	longestAt  = 4 << 10  // bytes of MESSAGE beside the record's own text
	mostInText = 256      // bytes of a value that MESSAGE repeats
	longName   = 64       // bytes of a field's name: the journal drops longer ones
)

// entry is what the attributes of a record become.
type entry struct {
	fields  []byte // as they are sent
	n       int    // of them
	leftOut int    // that were too many
	about   []byte // "key=value, key=value" for MESSAGE
	failure string // the attribute "err", which MESSAGE says first
}

func (e entry) clone() entry {
	e.fields, e.about = e.fields[:len(e.fields):len(e.fields)], e.about[:len(e.about):len(e.about)] // an append copies
	return e
}

// add adds an attribute. Groups become part of the name.
func (e *entry) add(prefix, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix, group = prefix+fieldName("", a.Key)+"_", group+a.Key+"."
		}
		for _, in := range v.Group() {
			e.add(prefix, group, in)
		}
		return
	}
	if a.Key == "" {
		return
	}
	if e.n == mostFields {
		e.leftOut++
		return
	}
	e.n++
	text := valueText(v)
	e.fields = appendField(e.fields, fieldName(prefix, a.Key), clip(text, longest))
	e.tell(group, a.Key, text)
}

// tell repeats in MESSAGE what a person reads without trouble: no stack traces.
func (e *entry) tell(group, key, text string) {
	switch {
	case key == "err" && e.failure == "":
		e.failure = printable(clip(text, longestAt))
	case len(text) > mostInText || strings.Contains(text, "\n") || len(e.about) > longestAt:
	default:
		if len(e.about) > 0 {
			e.about = append(e.about, ", "...)
		}
		e.about = append(append(e.about, printable(group+key)...), '=')
		if plain := printable(text); plain != text || text == "" || strings.ContainsAny(text, " ,=()\"") {
			e.about = strconv.AppendQuote(e.about, text)
		} else {
			e.about = append(e.about, text...)
		}
	}
}

// sentence is MESSAGE: "the link is down: connection refused (sink=cloud)".
func (e *entry) sentence(text string) string {
	var b strings.Builder
	b.WriteString(printable(clip(text, longest)))
	if e.failure != "" {
		b.WriteString(": ")
		b.WriteString(e.failure)
	}
	if len(e.about) > 0 {
		b.WriteString(" (")
		b.Write(e.about)
		b.WriteString(")")
	}
	return b.String()
}

// valueText is a value as the text handler of slog would write it, unquoted.
func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		if b, ok := v.Any().([]byte); ok {
			return string(b)
		}
		return fmt.Sprintf("%+v", v.Any()) // recovers from a nil that cannot say what it is
	}
	return v.String()
}

// fieldName makes a name of a key: capitals, digits and underscores. The prefix begins
// with a letter, so that no name looks like a trusted field, which begins with an
// underscore.
func fieldName(prefix, key string) string {
	name := []byte(prefix)
	for i := 0; i < len(key) && len(name) < longName; i++ {
		switch c := key[i]; {
		case 'a' <= c && c <= 'z':
			name = append(name, c-'a'+'A')
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			name = append(name, c)
		default:
			name = append(name, '_')
		}
	}
	return string(name[:min(len(name), longName)])
}

// appendField appends a field. One whose value has a newline is written as its name, a
// newline, the length of the value in eight bytes, the lowest first, and the value.
func appendField(to []byte, name, value string) []byte {
	to = append(to, name...)
	if strings.IndexByte(value, '\n') < 0 {
		to = append(append(to, '='), value...)
	} else {
		to = append(binary.LittleEndian.AppendUint64(append(to, '\n'), uint64(len(value))), value...)
	}
	return append(to, '\n')
}

// clip cuts a text, and says so.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	cut := most
	for cut > most-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes more)", text[:cut], len(text)-cut)
}

// printable replaces what a terminal would obey, and what would begin a line that
// looks like another record's.
func printable(text string) string {
	if !strings.ContainsFunc(text, isOdd) {
		return text
	}
	var b strings.Builder
	for i, width := 0, 0; i < len(text); i += width {
		var c rune
		c, width = utf8.DecodeRuneInString(text[i:])
		switch {
		case c == '\n':
			b.WriteString("; ")
			width += len(text[i+1:]) - len(strings.TrimLeft(text[i+1:], " \n"))
		case isOdd(c):
			quoted := strconv.Quote(text[i : i+width])
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}

func isOdd(c rune) bool { return c == utf8.RuneError || !unicode.IsPrint(c) }
