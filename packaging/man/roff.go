package main

import (
	"bytes"
	"fmt"
	"strings"
)

// roff collects a page in the macros of man(7).
type roff struct{ bytes.Buffer }

func newPage(name, section, date, version, manual string) *roff {
	r := new(roff)
	fmt.Fprintf(r, ".TH %s %s \"%s\" \"%s\" \"%s\"\n", strings.ToUpper(name), section, date, strings.TrimSpace("tidegate "+version), manual)
	// No hyphens in what may be copied, and no stretched spaces.
	r.WriteString(".nh\n.ad l\n")
	return r
}

func (r *roff) section(title string)    { fmt.Fprintf(r, ".SH %s\n", escape(title)) }
func (r *roff) subsection(title string) { fmt.Fprintf(r, ".SS \"%s\"\n", quoted(title)) }

// paragraph writes text that is filled.
func (r *roff) paragraph(text string) {
	fmt.Fprintf(r, ".PP\n%s\n", line(text))
}

// item writes a tag that is bold but for its value, and what is said of it.
func (r *roff) item(tag, value, text string) {
	fmt.Fprintf(r, ".TP\n\\fB%s\\fR%s\n", escape(tag), escape(value))
	if text != "" {
		r.WriteString(line(text) + "\n")
	}
}

// call writes a call, which goes on further to the right where it is long.
func (r *roff) call(text string) {
	fmt.Fprintf(r, ".HP 8\n\\fB%s\\fR\n", line(oneLine(text)))
}

// literal writes lines as they are.
func (r *roff) literal(lines []string) {
	r.WriteString(".PP\n.RS 4\n.nf\n")
	for _, l := range lines {
		r.WriteString(line(l) + "\n")
	}
	r.WriteString(".fi\n.RE\n")
}

// line escapes a line that is no request, whatever it begins with.
func line(s string) string {
	s = escape(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") || s == "" {
		return `\&` + s
	}
	return s
}

func quoted(s string) string { return strings.ReplaceAll(escape(s), `"`, `\(dq`) }

// escape writes what roff would read as its own, and what is not ASCII, as escapes. A
// dash stays one that can be copied into a shell.
func escape(s string) string {
	var b strings.Builder
	for _, c := range s {
		switch {
		case c == '\\':
			b.WriteString(`\e`)
		case c == '-':
			b.WriteString(`\-`)
		case c == '\'':
			b.WriteString(`\(aq`)
		case c == '`':
			b.WriteString(`\(ga`)
		case c == '^':
			b.WriteString(`\(ha`)
		case c == '~':
			b.WriteString(`\(ti`)
		case c == '\t':
			b.WriteString("    ")
		case c > '~':
			fmt.Fprintf(&b, `\[u%04X]`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String()
}
