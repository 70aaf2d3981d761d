// Package ingesttest is the conformance suite that every door in passes, and
// the custody that such tests need.
//
// A door that acknowledges must not do so before the receipt of what it
// acknowledges has resolved, whatever else happens. The suite knows nothing of
// transports: a door's test says how to make its source and how a peer speaks
// to it.
//
//	func TestDoor(t *testing.T) {
//		ingesttest.Run(t, ingesttest.Door{New: newSource, Speak: dial})
//	}
package ingesttest

import "time"

// Patience is how long tests wait for what must happen. It is long, because a
// loaded machine is slow, and only tests that fail wait for all of it.
const Patience = 30 * time.Second

// Impatience is how long tests wait for what must not happen.
const Impatience = 50 * time.Millisecond
