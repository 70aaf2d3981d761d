package conf

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxQuoted bounds, in bytes, what problems repeat of the file.
const maxQuoted = 64

// quote returns s as a Go string literal, shortened.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return strconv.Quote(s[:cut] + "...")
}

// Suggest returns the hint for a word that is none of the known ones: the one
// that was probably meant, and otherwise all of them.
func Suggest(word string, known []string) string {
	if meant := closest(word, known); meant != "" {
		return "did you mean " + strconv.Quote(meant) + "?"
	}
	return "write one of: " + strings.Join(known, ", ")
}

// closest returns the known word with the smallest edit distance to word, if
// no more than a third of it has to change.
func closest(word string, known []string) string {
	if len(word) > maxQuoted {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, k := range known {
		if d := distance(strings.ToLower(word), strings.ToLower(k)); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: the number of bytes to
// insert, delete, replace or swap with their neighbour.
func distance(a, b string) int {
	var beforeLast []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], beforeLast[j-2]+1)
			}
		}
		beforeLast, last = last, row
	}
	return last[len(b)]
}
