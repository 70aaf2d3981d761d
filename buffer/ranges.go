package buffer

import "slices"

// ranges is a set of sequence numbers: ascending, disjoint, with holes between
// them. What a sink has is nearly always one range, and a few while it catches
// up with a backlog behind the live readings.
type ranges []numberRange

// numberRange is the numbers from First to Last, both included.
type numberRange struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// add returns the set with the numbers first..last in it.
func (rs ranges) add(first, last uint64) ranges {
	if last < first {
		return rs
	}
	i, _ := slices.BinarySearchFunc(rs, first, func(r numberRange, n uint64) int {
		if r.Last+1 < n {
			return -1
		}
		return 1
	})
	j := i
	for j < len(rs) && rs[j].First <= last+1 {
		first, last = min(first, rs[j].First), max(last, rs[j].Last)
		j++
	}
	return slices.Replace(rs, i, j, numberRange{first, last})
}

// from returns the first number from n on that is not in the set.
func (rs ranges) from(n uint64) uint64 {
	for _, r := range rs {
		if r.First > n {
			break
		}
		n = max(n, r.Last+1)
	}
	return n
}

// has says whether all of first..last are in the set.
func (rs ranges) has(first, last uint64) bool { return rs.from(first) > last }

// overlap counts the numbers of first..last that are in the set.
func (rs ranges) overlap(first, last uint64) uint64 {
	n := uint64(0)
	for _, r := range rs {
		if lo, hi := max(r.First, first), min(r.Last, last); lo <= hi {
			n += hi - lo + 1
		}
	}
	return n
}

// last is the highest number in the set, 0 if it is empty.
func (rs ranges) last() uint64 {
	if len(rs) == 0 {
		return 0
	}
	return rs[len(rs)-1].Last
}

// union returns the set with all of other in it.
func (rs ranges) union(other ranges) ranges {
	for _, r := range other {
		rs = rs.add(r.First, r.Last)
	}
	return rs
}
