package main

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	tableLine = regexp.MustCompile(`^(\[\[?)([A-Za-z0-9_.-]+)\]\]?$`)
	keyLine   = regexp.MustCompile(`^([A-Za-z0-9_]+) = (.*)$`)
)

// configPage is the page of the configuration. The text shows every key with its
// default, and says above it what it means; tables that may be there several times,
// or not at all, are commented out.
func configPage(text, date, version string) ([]byte, error) {
	r := newPage("tidegate.toml", "5", date, version, "File Formats")
	r.section("NAME")
	r.WriteString(`tidegate.toml \- configuration of the tidegate gateway` + "\n")
	r.section("SYNOPSIS")
	r.paragraph("/etc/tidegate/tidegate.toml")
	r.section("DESCRIPTION")
	said, keys := []string(nil), 0
	tables := false
	for i, l := range strings.Split(strings.TrimRight(text, "\n"), "\n") {
		l, comment := uncommented(l)
		switch m, k := tableLine.FindStringSubmatch(l), keyLine.FindStringSubmatch(l); {
		case comment:
			said = append(said, l)
			continue
		case l == "":
			if len(said) > 0 {
				r.paragraph(strings.Join(said, " "))
			}
		case m != nil:
			if !tables {
				r.afterword()
				r.section("TABLES")
			}
			tables = true
			r.table(m, said)
		case k != nil:
			r.item(k[1], " = "+k[2], strings.Join(said, " "))
			keys++
		default:
			return nil, fmt.Errorf("tidegate config, line %d: %q is no table, key or comment", i+1, l)
		}
		said = nil
	}
	if !tables || keys == 0 {
		return nil, fmt.Errorf("tidegate config shows no tables or no keys")
	}
	r.section("FILES")
	r.item("/usr/share/doc/tidegate/examples/tidegate.toml", "", "All of this as a file; \"tidegate config\" prints it, too.")
	r.section("SEE ALSO")
	r.paragraph("tidegate(1)")
	return r.Bytes(), nil
}

// uncommented returns a line without the mark of a table that is commented out, and
// whether it is a comment: "# text", and "## text" within such a table.
func uncommented(l string) (string, bool) {
	switch {
	case l == "#":
		return "", false
	case strings.HasPrefix(l, "## "):
		return l[3:], true
	case strings.HasPrefix(l, "# "):
		return l[2:], true
	}
	return strings.TrimPrefix(l, "#"), false
}

// afterword says what the text itself has no place for.
func (r *roff) afterword() {
	r.paragraph("Change the file, let \"tidegate check\" look at it, and say \"tidegate reload\"; or try a change with \"tidegate apply\". " +
		"A key that does not exist is an error, with a hint. Where the file of a secret is wanted, " +
		"\"credential:NAME\" is that of /etc/credstore/tidegate/NAME.")
}

func (r *roff) table(m []string, said []string) {
	closing := strings.Repeat("]", len(m[1]))
	r.subsection(m[1] + m[2] + closing)
	if len(m[1]) == 2 {
		said = append(said, "Can be there several times.")
	}
	if len(said) > 0 {
		r.paragraph(strings.Join(said, " "))
	}
}
