//go:build !race

package uplink_test

// underRace says that the race detector watches.
const underRace = false
