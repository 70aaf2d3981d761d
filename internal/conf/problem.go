package conf

import (
	"cmp"
	"fmt"
	"sort"
	"strings"
)

// Problem is one fault of a configuration.
type Problem struct {
	// File is the name that was given to Decode.
	File string
	// Line and Column count from 1, columns in characters. Line 0 means that
	// the problem has no place in the file, such as a missing table.
	Line, Column int
	// Key is the dotted key, "uplink.http[0].url"; elements count from 0. It
	// is empty for a fault of the syntax.
	Key string
	// What is wrong, and Hint what to do about it.
	What, Hint string
}

// String returns "file:line:column: key: what", and the hint on a second line.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	b.WriteString(": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.What)
	if p.Hint != "" {
		b.WriteString("\n    hint: " + p.Hint)
	}
	return b.String()
}

// Problems is everything that is wrong with a configuration, in the order of
// the file.
type Problems []Problem

// shownProblems bounds Error: the first twenty tell enough.
const shownProblems = 20

// Error lists the problems, one below the other.
func (ps Problems) Error() string {
	var b strings.Builder
	for i, p := range ps {
		if i == shownProblems {
			fmt.Fprintf(&b, "\n... and %d more", len(ps)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

func (ps Problems) sort() {
	sort.SliceStable(ps, func(i, k int) bool {
		a, b := ps[i], ps[k]
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key)) < 0
	})
}
