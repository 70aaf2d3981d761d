// Package linediff says what differs between two texts, line by line, in the unified
// format of diff(1) and patch(1).
package linediff

import (
	"fmt"
	"slices"
	"strings"
)

// context is how many lines that are the same are shown around a difference.
const context = 3

// maxEdits bounds the search for the shortest way from one text to the other. Beyond
// it, what lies between the first and the last difference is shown as replaced.
const maxEdits = 400

// Unified returns the differences, "" if there are none. A last line without its end
// counts as one with it.
func Unified(old, new string) string {
	all := edits(lines(old), lines(new))
	var out strings.Builder
	done, inOld, inNew := 0, 0, 0
	for _, h := range hunks(all) {
		o, n := count(all[done:h.from])
		write(&out, all[h.from:h.to], inOld+o, inNew+n)
		o, n = count(all[done:h.to])
		done, inOld, inNew = h.to, inOld+o, inNew+n
	}
	return out.String()
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// edit is a line that is the same (' '), in old only ('-'), or in new only ('+').
type edit struct {
	kind byte
	line string
}

// edits returns how a becomes b.
func edits(a, b []string) (all []edit) {
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	all = with(all, ' ', a[:start])
	all = append(all, between(a[start:len(a)-end], b[start:len(b)-end])...)
	return with(all, ' ', a[len(a)-end:])
}

func with(all []edit, kind byte, lines []string) []edit {
	for _, line := range lines {
		all = append(all, edit{kind, line})
	}
	return all
}

// between is the greedy algorithm of E. Myers, "An O(ND) difference algorithm and its
// variations", 1986: ends[d][k+d] is how far in a one comes with d edits on the
// diagonal k.
func between(a, b []string) []edit {
	var ends [][]int32
	for d := range maxEdits + 1 {
		row := make([]int32, 2*d+1)
		ends = append(ends, row)
		for k := -d; k <= d; k += 2 {
			x := furthest(ends, d, k)
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			row[k+d] = int32(x)
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, ends, k)
			}
		}
	}
	return with(with(nil, '-', a), '+', b)
}

// furthest is where the d-th edit leads to on the diagonal k.
func furthest(ends [][]int32, d, k int) int {
	if d == 0 {
		return 0
	}
	before := ends[d-1]
	if down(before, d, k) {
		return int(before[k+1+d-1])
	}
	return int(before[k-1+d-1]) + 1
}

// down says whether that edit is a line of b.
func down(before []int32, d, k int) bool {
	return k == -d || k != d && before[k-1+d-1] < before[k+1+d-1]
}

// walkBack follows the way that has come to the end of both, on the diagonal k.
func walkBack(a, b []string, ends [][]int32, k int) []edit {
	var back []edit
	x := len(a)
	for d := len(ends) - 1; d >= 0; d-- {
		from := furthest(ends, d, k)
		for ; x > from; x-- {
			back = append(back, edit{' ', a[x-1]})
		}
		switch {
		case d == 0:
		case down(ends[d-1], d, k):
			back = append(back, edit{'+', b[x-k-1]})
			k++
		default:
			back = append(back, edit{'-', a[x-1]})
			x--
			k--
		}
	}
	slices.Reverse(back)
	return back
}

// hunk is a stretch of edits with some context: from and to in all of them.
type hunk struct{ from, to int }

// hunks leaves out what is the same for long.
func hunks(all []edit) (cut []hunk) {
	for i, e := range all {
		if e.kind == ' ' {
			continue
		}
		h := hunk{max(0, i-context), min(len(all), i+context+1)}
		if n := len(cut); n > 0 && h.from <= cut[n-1].to {
			cut[n-1].to = h.to
		} else {
			cut = append(cut, h)
		}
	}
	return cut
}

// write writes a hunk; old and new are how many lines are before it.
func write(out *strings.Builder, edits []edit, old, new int) {
	inOld, inNew := count(edits)
	fmt.Fprintf(out, "@@ -%s +%s @@\n", span(old, inOld), span(new, inNew))
	for _, e := range edits {
		out.WriteByte(e.kind)
		out.WriteString(e.line)
		out.WriteByte('\n')
	}
}

// span names n lines behind the first ones.
func span(before, n int) string {
	switch n {
	case 0:
		return fmt.Sprintf("%d,0", before)
	case 1:
		return fmt.Sprint(before + 1)
	}
	return fmt.Sprintf("%d,%d", before+1, n)
}

// count returns how many lines of either text the edits hold.
func count(edits []edit) (old, new int) {
	for _, e := range edits {
		if e.kind != '+' {
			old++
		}
		if e.kind != '-' {
			new++
		}
	}
	return old, new
}
