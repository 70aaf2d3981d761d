//go:build !race

package decode

// pooled says that a sync.Pool keeps what it is given.
const pooled = true
