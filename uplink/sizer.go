package uplink

import "time"

// The sizes that message bodies move between, in bytes.
const (
	firstBody = 16 << 10
	leastBody = 4 << 10
	// leastBlocks and maxGather bound the blocks of a message; the latter are
	// held in memory while it is in flight.
	leastBlocks = 512
	maxGather   = 1 << 20
	// worthwhile is the size of blocks from which headers no longer count: a
	// message of it goes even while others are in flight.
	worthwhile = 4 << 10
)

// A message should take about a second: long enough to fill the pipe, short
// enough that a cut costs little and an alarm is not kept waiting.
const (
	quick = time.Second
	slow  = 4 * time.Second
)

// sizer finds how much to put into a message. The size of the body doubles while
// messages arrive quickly, and halves when they are slow. How many blocks that
// is, earlier bodies tell: a hundred small commits merge to a tenth of their
// size, and JSON takes fifty times as much as they do.
type sizer struct {
	target  int     // bytes of a body
	maxBody int     // bytes of a body
	ratio   float64 // of a body to its blocks
}

func newSizer(maxBody int) sizer {
	return sizer{target: min(firstBody, maxBody), maxBody: maxBody, ratio: 1}
}

// limit is how many bytes of blocks a message should take.
func (s *sizer) limit() int {
	return int(min(max(float64(s.target)/s.ratio, leastBlocks), maxGather))
}

// body is how large the body for so many bytes of blocks will be.
func (s *sizer) body(blocks int) int { return int(float64(blocks) * s.ratio) }

// encoded looks at a body that was just made.
func (s *sizer) encoded(blocks, body int) { s.ratio = float64(body) / float64(blocks) }

// arrived looks at a message that has arrived. Only one that was nearly full
// says anything about larger ones.
func (s *sizer) arrived(body int, took time.Duration) {
	switch {
	case took > slow:
		s.shrink()
	case took < quick && body >= s.target/2:
		s.target = min(2*s.target, s.maxBody)
	}
}

func (s *sizer) shrink() { s.target = min(max(s.target/2, leastBody), s.maxBody) }

// lower sets a new bound for bodies: the remote side has a smaller one than the
// configuration says.
func (s *sizer) lower(maxBody int) { s.bound(max(maxBody, leastBody)) }

// bound sets a bound for bodies that the remote side has named.
func (s *sizer) bound(maxBody int) {
	s.maxBody = min(s.maxBody, maxBody)
	s.target = min(s.target, s.maxBody)
}
