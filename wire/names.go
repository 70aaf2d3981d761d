package wire

import (
	"encoding/binary"
	"strings"
)

// A name table is a list of strings in ascending order, front-coded: each is
// the length of the prefix that it shares with the one before, the length of
// the rest, and the rest. The three are kept apart, because lengths repeat and
// compress to almost nothing beside each other.

func appendNames(dst []byte, names []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(names)))
	prev := ""
	for _, s := range names {
		dst = binary.AppendUvarint(dst, uint64(sharedPrefix(prev, s)))
		prev = s
	}
	prev = ""
	for _, s := range names {
		dst = binary.AppendUvarint(dst, uint64(len(s)-sharedPrefix(prev, s)))
		prev = s
	}
	prev = ""
	for _, s := range names {
		dst = append(dst, s[sharedPrefix(prev, s):]...)
		prev = s
	}
	return dst
}

func sharedPrefix(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// names reads a table of at most limit names. Front coding lets a few bytes
// stand for long names, so their sum is bounded by MaxBody.
func (r *reader) names(limit int) []string {
	n := r.count(min(limit, len(r.b)/2))
	lens := make([]int, 2*n)
	total, rest, prev := 0, 0, 0
	for i := range n {
		lens[i] = r.count(MaxBody)
	}
	for i := range n {
		lens[n+i] = r.count(len(r.b))
		length := lens[i] + lens[n+i]
		total += length
		rest += lens[n+i]
		if lens[i] > prev || total > MaxBody {
			r.fail()
			return nil
		}
		prev = length
	}
	if r.failed || rest > len(r.b) {
		r.fail()
		return nil
	}
	var all strings.Builder
	all.Grow(total)
	start := 0
	for i := range n {
		begin := all.Len()
		all.WriteString(all.String()[start : start+lens[i]])
		all.Write(r.bytes(lens[n+i]))
		start = begin
	}
	names, text := make([]string, n), all.String()
	for i := range n {
		length := lens[i] + lens[n+i]
		names[i], text = text[:length], text[length:]
	}
	return names
}
