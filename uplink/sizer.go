package uplink

import "time"

// The sizes of message bodies, in bytes.
const (
	// leastBody is the least that a body is meant to have, if there is as much:
	// headers cost a few hundred bytes.
	leastBody = 2 << 10
	// firstWindow is under way before anything is known of the link.
	firstWindow = 64 << 10
	// leastBlocks and maxGather bound the blocks of a message; the latter are
	// held in memory while it is in flight.
	leastBlocks = 512
	maxGather   = 1 << 20
	// leastRatio bounds what is made of bodies that were small or empty for once.
	leastRatio = 1. / 32
)

// A message takes a part of a round trip to write, but no less than shortest and no
// more than longest: a cut then costs little, an alarm gets its turn soon,
// and headers do not count.
const (
	shortest = 250 * time.Millisecond
	longest  = time.Second
)

// sizer finds how much to put into a message, and how much may be under way.
// How many blocks make a body, earlier bodies tell: a hundred small commits merge
// to a tenth of their size, and JSON takes fifty times as much as they do.
type sizer struct {
	pipe
	maxBody int // bytes of a body
	// What became of the blocks of late, in bytes; the ratio of the two.
	encodedBlocks, encodedBody float64
}

func newSizer(window, maxBody int) sizer {
	return sizer{pipe: newPipe(window, maxBody), maxBody: maxBody}
}

// target is how large the next body should be.
func (s *sizer) target() int { return min(max(s.share(), leastBody), s.maxBody) }

// blocks is how many bytes of blocks a message should take.
func (s *sizer) blocks() int {
	return int(min(max(float64(s.target())/s.ratio(), leastBlocks), maxGather))
}

// body is how large the body for so many bytes of blocks will be.
func (s *sizer) body(blocks int) int { return int(float64(blocks) * s.ratio()) }

// encoded looks at a body that was just made. Large ones say more than small ones.
func (s *sizer) encoded(blocks, body int) {
	const memory = 64 << 10 // bytes of blocks
	keep := max(0, 1-float64(blocks)/memory)
	s.encodedBlocks = s.encodedBlocks*keep + float64(blocks)
	s.encodedBody = s.encodedBody*keep + float64(body)
}

// ratio is what a body has, of its blocks.
func (s *sizer) ratio() float64 {
	if s.encodedBlocks == 0 {
		return 1
	}
	return max(s.encodedBody/s.encodedBlocks, leastRatio)
}

// lower sets a new bound for bodies: the remote side has a smaller one than the
// configuration says.
func (s *sizer) lower(maxBody int) { s.bound(max(maxBody, leastBody)) }

// bound sets a bound for bodies that the remote side has named.
func (s *sizer) bound(maxBody int) { s.maxBody = min(s.maxBody, maxBody) }
