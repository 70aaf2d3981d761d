package main

import (
	"regexp"
	"strings"

	"github.com/tidegate/tidegate/packaging/usage"
)

// programPage is the page of a program: its help, then that of each command.
func programPage(p usage.Program, a about, date, version string) []byte {
	r := newPage(p.Name, "1", date, version, "User Commands")
	first, rest, _ := strings.Cut(p.Help, "\n\n")
	first = oneLine(first)
	does := strings.TrimSuffix(strings.TrimPrefix(first, p.Name+" "), ".")
	r.section("NAME")
	r.WriteString(escape(p.Name) + ` \- ` + escape(does) + "\n")
	r.section("SYNOPSIS")
	r.WriteString(`.B ` + escape(p.Name) + "\n" + `\fICOMMAND\fR [flags] [arguments]` + "\n")
	r.section("DESCRIPTION")
	r.paragraph(first)
	r.section("COMMANDS")
	r.help(rest)
	for _, group := range groups(p) {
		var names []string
		for _, c := range group {
			names = append(names, c.Name)
		}
		r.subsection(p.Name + " " + strings.Join(names, ", "))
		r.help(group[0].Help)
	}
	r.list("OPTIONS", a.options)
	r.list("EXAMPLES", a.examples)
	r.list("FILES", a.files)
	r.section("SEE ALSO")
	r.paragraph(a.see)
	return r.Bytes()
}

// list writes a section of entries and what is said of each, if there are any.
func (r *roff) list(heading string, entries [][2]string) {
	if len(entries) == 0 {
		return
	}
	r.section(heading)
	for _, e := range entries {
		r.item(e[0], "", e[1])
	}
}

// groups returns the commands that have help of their own, those together that
// share one.
func groups(p usage.Program) [][]usage.Command {
	var all [][]usage.Command
	at := make(map[string]int)
	for _, c := range p.Commands {
		// "Usage of tidegate version:" and nothing below it says nothing.
		if !c.Own || strings.HasPrefix(c.Help, "Usage of ") && strings.Count(c.Help, "\n") == 1 || c.Name == "version" {
			continue
		}
		i, ok := at[c.Help]
		if !ok {
			i = len(all)
			at[c.Help], all = i, append(all, nil)
		}
		all[i] = append(all[i], c)
	}
	return all
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

var (
	hanging   = regexp.MustCompile(`^([a-z][a-z-]*) {2,}(\S.*)$`)
	flagEntry = regexp.MustCompile(`^  (-\S+)(?: ([^\t]+))?(?:\t(.*))?$`)
)

// help writes a text as programs print it: paragraphs, headings that end in a colon,
// and lines that are set in.
func (r *roff) help(text string) {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	heading := ""
	for len(lines) > 0 {
		first := lines[0]
		n := 1
		switch {
		case first == "":
		case strings.HasPrefix(first, "Usage: "), strings.HasPrefix(first, "Usage of "):
			n += leading(lines[1:], isIndented)
			if strings.HasPrefix(first, "Usage of ") {
				n = 1
				break
			}
			r.call(strings.TrimPrefix(first, "Usage: ") + strings.Join(lines[1:n], " "))
		case isIndented(first):
			n = leading(lines, isIndented)
			r.block(heading, lines[:n])
		case strings.HasSuffix(first, ":") && len(lines) > 1 && (isIndented(lines[1]) || lines[1] == ""):
			heading = first
			if heading != "Usage:" {
				r.paragraph(heading)
			}
		case hanging.MatchString(first):
			n += leading(lines[1:], isIndented)
			m := hanging.FindStringSubmatch(first)
			r.item(m[1], "", oneLine(m[2]+" "+strings.Join(lines[1:n], " ")))
		default:
			n = leading(lines, func(l string) bool {
				return l != "" && !isIndented(l) && (l == first || !strings.HasSuffix(l, ":") && !strings.HasPrefix(l, "Exit codes:") && !hanging.MatchString(l))
			})
			r.paragraph(oneLine(strings.Join(lines[:n], " ")))
		}
		lines = lines[n:]
	}
}

func isIndented(l string) bool { return strings.HasPrefix(l, "  ") }

// leading counts the lines at the beginning that are of a kind.
func leading(lines []string, is func(string) bool) int {
	for i, l := range lines {
		if !is(l) {
			return i
		}
	}
	return len(lines)
}

// block writes lines that are set in: flags as package flag prints them, entries
// with what is said of each to the right, or else what is to be shown as it is.
func (r *roff) block(heading string, lines []string) {
	column := columnOf(lines)
	switch {
	case flagEntry.MatchString(lines[0]) && (strings.Contains(lines[0], "\t") || len(lines) > 1 && strings.HasPrefix(lines[1], "    \t")):
		r.flags(lines)
	case heading != "Examples:" && column > 0:
		r.entries(lines, column)
	case heading == "Usage:":
		for _, l := range lines {
			r.call(l)
		}
	default:
		r.literal(lines)
	}
}

func (r *roff) flags(lines []string) {
	for i := 0; i < len(lines); {
		m := flagEntry.FindStringSubmatch(lines[i])
		n := 1 + leading(lines[i+1:], func(l string) bool { return !flagEntry.MatchString(l) })
		if m == nil {
			r.literal(lines[i : i+n])
		} else {
			value := ""
			if m[2] != "" {
				value = " " + m[2]
			}
			r.item(m[1], value, oneLine(m[3]+" "+strings.Join(lines[i+1:i+n], " ")))
		}
		i += n
	}
}

// columnOf returns where descriptions begin, 0 if there are none: where lines
// continue, or else where all have something behind two spaces or more.
func columnOf(lines []string) int {
	column := 0
	for _, l := range lines {
		if indent := len(l) - len(strings.TrimLeft(l, " ")); indent >= 10 && (column == 0 || indent < column) {
			column = indent
		}
	}
	if column > 0 {
		return column
	}
	for _, l := range lines {
		i := strings.LastIndex(l, "  ")
		if i < 2 {
			return 0
		}
		at := len([]rune(l[:i+2]))
		if column > 0 && at != column {
			return 0
		}
		column = at
	}
	return column
}

// entries writes each line that is set in by two as a tag, and what is to its right
// or below as what is said of it. A tag may go on below, too.
func (r *roff) entries(lines []string, column int) {
	tag, text := "", ""
	for _, l := range lines {
		indent := len(l) - len(strings.TrimLeft(l, " "))
		switch {
		case indent <= 2:
			if tag != "" {
				r.item(oneLine(tag), "", oneLine(text))
			}
			tag, text = split(l, column)
		case indent >= column:
			text += " " + l
		default:
			tag += " " + l
		}
	}
	r.item(oneLine(tag), "", oneLine(text))
}

var lastGap = regexp.MustCompile(`^(.*\S) {2,}([a-z][^ ]*(?: \S+)*)$`)

// split divides a line into a call, or a flag, and what is said of it, which begins
// at the column, or else behind the last gap: not if that is only there to bring
// the commands into line.
func split(l string, column int) (tag, text string) {
	if runes := []rune(l); len(runes) > column && string(runes[column-2:column]) == "  " && !strings.ContainsRune("[- ", runes[column]) {
		return string(runes[:column]), string(runes[column:])
	}
	if m := lastGap.FindStringSubmatch(l); m != nil && len(strings.Fields(m[1])) > 2 {
		return m[1], m[2]
	}
	return l, ""
}
