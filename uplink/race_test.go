//go:build race

package uplink_test

// underRace says that the race detector watches: hours of virtual time then take
// minutes.
const underRace = true
