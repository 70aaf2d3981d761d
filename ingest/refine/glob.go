package refine

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The bounds of a pattern.
const (
	// MaxPattern is its greatest length, in bytes.
	MaxPattern = 256
	// MaxStars is how many * it may have.
	MaxStars = 8
)

// glob is a pattern for names: * stands for any characters, also none, ? for
// one. The empty one matches everything.
type glob string

// spans are what the stars of a glob stood for, as places in the name.
type spans [MaxStars]struct{ from, to int }

// match reports whether the whole name is as the glob says, and what its stars
// stood for: each for as little as possible, from left to right. It takes time
// in proportion to the product of both lengths at worst, and allocates nothing.
func (g glob) match(name string, stars *spans) bool {
	if g == "" || g == "*" {
		stars[0].from, stars[0].to = 0, len(name)
		return true
	}
	p, n := 0, 0
	star, found := -1, 0 // the place of the last * in g, and how many there were
	for n < len(name) {
		_, size := utf8.DecodeRuneInString(name[n:])
		switch {
		case p < len(g) && g[p] == '*':
			star, p = p, p+1
			stars[found].from, stars[found].to = n, n
			found++
		case p < len(g) && g[p] == '?':
			p, n = p+1, n+size
		case p < len(g) && strings.HasPrefix(string(g[p:]), name[n:n+size]):
			p, n = p+size, n+size
		case star >= 0: // the last * takes one character more
			last := &stars[found-1]
			_, size := utf8.DecodeRuneInString(name[last.to:])
			last.to += size
			p, n = star+1, last.to
		default:
			return false
		}
	}
	for ; p < len(g) && g[p] == '*'; p++ {
		stars[found].from, stars[found].to = n, n
		found++
	}
	return p == len(g)
}

// stars counts the * in a text.
func stars(text string) int { return strings.Count(text, "*") }

// fill puts what the stars of a glob stood for in the place of the stars of a
// text.
func fill(text, name string, found *spans) string {
	if stars(text) == 0 {
		return text
	}
	var b strings.Builder
	for i := 0; ; i++ {
		literal, rest, more := strings.Cut(text, "*")
		b.WriteString(literal)
		if !more {
			return b.String()
		}
		b.WriteString(name[found[i].from:found[i].to])
		text = rest
	}
}

// problemsOf says what is wrong with a pattern.
func problemsOf(key, pattern string) []Problem {
	switch {
	case len(pattern) > MaxPattern:
		return []Problem{{key, fmt.Sprintf("has %d bytes", len(pattern)), fmt.Sprintf("write a pattern of at most %d", MaxPattern)}}
	case stars(pattern) > MaxStars:
		return []Problem{{key, fmt.Sprintf("%q has more than %d stars", pattern, MaxStars), "one * stands for any number of characters"}}
	case strings.Contains(pattern, "**"):
		return []Problem{{key, fmt.Sprintf("%q has two stars in a row", pattern), "one * stands for any number of characters, slashes and dots included"}}
	case strings.ContainsAny(pattern, "{}"):
		return []Problem{{key, fmt.Sprintf("%q has braces, which mean nothing here", pattern), "write * for any characters and ? for one"}}
	case !utf8.ValidString(pattern):
		return []Problem{{key, fmt.Sprintf("%q is no text", pattern), "write it in UTF-8"}}
	}
	return nil
}
