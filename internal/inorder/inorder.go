// Package inorder sorts what is sorted now and then, as slices.SortStableFunc does, with
// one sort for all types: the compiler makes the dozen functions of package slices anew
// for each type, eight kilobytes a time (docs/decisions/0020).
package inorder

import (
	"iter"
	"slices"
)

// Sort sorts all as compare says, which returns less than 0 where a is before b. What
// is equal stays in its order.
func Sort[E any](all []E, compare func(a, b E) int) {
	before := append([]E(nil), all...)
	for i, place := range places(len(all), func(i, k int) int { return compare(before[i], before[k]) }) {
		all[i] = before[place]
	}
}

// places returns the places of n elements in their order: this is the one sort.
func places(n int, compare func(i, k int) int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	slices.SortFunc(all, func(i, k int) int {
		if c := compare(i, k); c != 0 {
			return c
		}
		return i - k
	})
	return all
}

// Sorted returns what all yields as a slice that is sorted as compare says.
func Sorted[E any](all iter.Seq[E], compare func(a, b E) int) []E {
	list := slices.Collect(all)
	Sort(list, compare)
	return list
}
