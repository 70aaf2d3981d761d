// Package dashboard shows a technician what is happening: one live page, the
// WebSocket behind it, and the same facts as JSON.
//
// It is shown things and asks for nothing. Readings arrive through
// [Hub.Publish], which every door reaches by way of the intake; the state of
// the gateway comes from one callback that returns a [Status]. The pipeline
// never notices whether anybody watches.
//
//	Publish → inbox ─┐ every Interval           one slot
//	                 ├→ table of latest values → a viewer  → WebSocket
//	status callback ─┘   one frame, encoded once
//
// The inbox is also the budget: it holds Config.Budget readings, is emptied
// every Config.Interval, and what does not fit is counted and not looked at.
// So the cost of the dashboard has a ceiling whatever the doors bring.
//
// Every tick has a number, and every value remembers the tick that changed it.
// A frame is therefore simply "what changed after tick n": n is the previous
// tick for a viewer who keeps up, an older one for a viewer who is slow (he
// gets the changes merged), and zero for one who has just come (he gets
// everything). There is no queue that could grow.
//
// # Memory
//
// All of it is bounded by Config: the inbox by 2 × Budget × 96 bytes (1 MB),
// the table by MaxSeries × (60 points of 4 bytes, names of at most 128 bytes
// each, a text of at most 64 bytes), less than 8 MB, and each viewer by two
// encoded frames.
//
// LIVE.md describes the messages of the WebSocket.
package dashboard
