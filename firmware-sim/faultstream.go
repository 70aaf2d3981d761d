package firmwaresim

import (
	"math/rand/v2"
	"slices"
	"time"
)

const (
	maxNoise  = 16 // bytes before a frame
	maxMerged = 8  // frames in one write
	maxCuts   = 3  // of a write
)

// Piece is bytes that are written at once.
type Piece struct {
	// Pause is the silence before them.
	Pause time.Duration
	// Bytes stay valid until the next call of the FaultStream.
	Bytes []byte
}

// FaultCounts says how many frames each fault has met.
type FaultCounts struct {
	Split, Merged, Noisy, Corrupted, Dropped, Duplicated, Paused uint64
}

// FaultStream turns frames into what arrives of them. It is a pure function of
// its seed and the frames: the same come out as the same bytes. Each fault has
// random numbers of its own, so that one more fault does not move the others.
type FaultStream struct {
	faults Faults
	random [kinds]*rand.Rand
	wait   []byte // frames that are not written yet
	waits  int    // how many
	pieces []Piece
	counts FaultCounts
}

const (
	kindSplit = iota
	kindMerge
	kindNoise
	kindCorrupt
	kindDrop
	kindDuplicate
	kindPause
	kindStuck
	kinds
)

// Stream returns what the faults do to the frames of the device with the given
// index.
func (f Faults) Stream(seed uint64, index int) *FaultStream {
	s := &FaultStream{faults: f}
	for kind := range s.random {
		s.random[kind] = f.random(seed, index, kind)
	}
	return s
}

func (Faults) random(seed uint64, index, kind int) *rand.Rand {
	return rand.New(rand.NewPCG(seed^0x6a09e667f3bcc908, uint64(index)<<8|uint64(kind)))
}

// Frame returns what is to be written because of a frame, in order, which may
// be nothing, and how often the frame is among it or will be: 0, 1 or 2 times.
func (s *FaultStream) Frame(frame []byte) (pieces []Piece, copies int) {
	if copies = s.copies(); copies > 0 {
		s.waits++
	}
	if s.hit(kindNoise, s.faults.Noise) {
		s.counts.Noisy++
		for range 1 + s.random[kindNoise].IntN(maxNoise) {
			s.wait = append(s.wait, byte(s.random[kindNoise].Uint32()))
		}
	}
	corrupt := s.hit(kindCorrupt, s.faults.Corrupt)
	for n := range copies {
		s.wait = append(s.wait, frame...)
		if corrupt && n == 0 && len(frame) > 0 {
			bit := s.random[kindCorrupt].IntN(8 * len(frame))
			s.wait[len(s.wait)-len(frame)+bit/8] ^= 1 << (bit % 8)
			s.counts.Corrupted++
		}
	}
	if s.hit(kindMerge, s.faults.Merge) && copies > 0 && s.waits < maxMerged {
		s.counts.Merged++
		return nil, copies
	}
	return s.Flush(), copies
}

func (s *FaultStream) copies() int {
	dropped := s.hit(kindDrop, s.faults.Drop)
	duplicated := s.hit(kindDuplicate, s.faults.Duplicate)
	switch {
	case dropped:
		s.counts.Dropped++
		return 0
	case duplicated:
		s.counts.Duplicated++
		return 2
	}
	return 1
}

// hit says whether a fault that happens with the given share happens now. It
// takes a random number in any case.
func (s *FaultStream) hit(kind int, share float64) bool { return s.random[kind].Float64() < share }

// Flush returns the frames that wait for others.
func (s *FaultStream) Flush() []Piece {
	s.pieces = s.pieces[:0]
	if len(s.wait) == 0 {
		return nil
	}
	var cuts []int
	if s.hit(kindSplit, s.faults.Split) && len(s.wait) > 1 {
		s.counts.Split++
		for range 1 + s.random[kindSplit].IntN(maxCuts) {
			cuts = append(cuts, 1+s.random[kindSplit].IntN(len(s.wait)-1))
		}
	}
	silent := -1
	if s.hit(kindPause, s.faults.Pause) && len(s.wait) > 1 {
		s.counts.Paused++
		silent = 1 + s.random[kindPause].IntN(len(s.wait)-1)
		cuts = append(cuts, silent)
	}
	slices.Sort(cuts)
	from := 0
	for _, to := range append(slices.Compact(cuts), len(s.wait)) {
		piece := Piece{Bytes: s.wait[from:to]}
		if from == silent {
			piece.Pause = s.faults.PauseFor
		}
		s.pieces = append(s.pieces, piece)
		from = to
	}
	s.wait, s.waits = s.wait[:0], 0 // the pieces still show it
	return s.pieces
}

// Waiting says how many frames wait for others.
func (s *FaultStream) Waiting() int { return s.waits }

// Counts returns the counts so far.
func (s *FaultStream) Counts() FaultCounts { return s.counts }
