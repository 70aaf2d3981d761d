package firmwaresim

import (
	"cmp"
	"slices"
)

// span is the numbers first to last, both included.
type span struct{ first, last uint64 }

// intervals is a set of numbers that come mostly in ascending order: ten
// million of them without a hole take as much memory as one.
type intervals struct {
	spans []span // ascending; neither overlapping nor touching
	count uint64
}

// add adds a span and returns how many of its numbers are new.
func (s *intervals) add(add span) uint64 {
	if n := len(s.spans); n > 0 && s.spans[n-1].last+1 == add.first {
		s.spans[n-1].last = add.last
		s.count += add.last - add.first + 1
		return add.last - add.first + 1
	}
	from := s.search(add.first)
	if from > 0 && s.spans[from-1].last+1 == add.first {
		from--
	}
	added := add.last - add.first + 1
	merged, to := add, from
	for ; to < len(s.spans) && s.spans[to].first <= add.last+1; to++ {
		old := s.spans[to]
		if first, last := max(old.first, add.first), min(old.last, add.last); first <= last {
			added -= last - first + 1
		}
		merged = span{min(merged.first, old.first), max(merged.last, old.last)}
	}
	s.spans = slices.Replace(s.spans, from, to, merged)
	s.count += added
	return added
}

func (s *intervals) has(n uint64) bool {
	i := s.search(n)
	return i < len(s.spans) && s.spans[i].first <= n
}

// search returns the index of the first span that ends at n or later.
func (s *intervals) search(n uint64) int {
	i, _ := slices.BinarySearchFunc(s.spans, n, func(s span, n uint64) int { return cmp.Compare(s.last, n) })
	return i
}

// without yields the spans of s that are not in other, ascending.
func (s *intervals) without(other *intervals) func(yield func(span) bool) {
	return func(yield func(span) bool) {
		for _, rest := range s.spans {
			for i := other.search(rest.first); rest.first <= rest.last; i++ {
				if i == len(other.spans) || other.spans[i].first > rest.last {
					if !yield(rest) {
						return
					}
					break
				}
				have := other.spans[i]
				if have.first > rest.first && !yield(span{rest.first, have.first - 1}) {
					return
				}
				rest.first = have.last + 1
			}
		}
	}
}
