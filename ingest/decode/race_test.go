//go:build race

package decode

// pooled says that a sync.Pool keeps what it is given. The race detector makes
// it forget at random, so allocations cannot be counted where one is used.
const pooled = false
