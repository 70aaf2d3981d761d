package mqttin

import (
	"sync"
	"time"
)

const (
	// freeGuesses is how many wrong passwords cost nothing: people mistype.
	freeGuesses = 3
	// firstPause follows the next one, and doubles with each, up to maxPenalty.
	firstPause = time.Second
	maxPenalty = time.Minute
	// maxGuessers bounds how many are remembered.
	maxGuessers = 4096
)

// guesser is who tries passwords: one host for one user. A host alone would be
// too much, because one misconfigured device would keep out all that share its
// address; a user alone, too, because anybody could keep him out.
type guesser struct{ host, user string }

// guesses is what is known about a guesser.
type guesses struct {
	wrong int       // in a row
	next  time.Time // no password is looked at before
	busy  bool      // one is being looked at
}

// throttle makes guessing slow: after a few wrong passwords, the next one is
// looked at only after a pause, and one at a time.
type throttle struct {
	mu       sync.Mutex
	guessers map[guesser]guesses
}

// outcome is what became of a password.
type outcome uint8

const (
	undecided outcome = iota
	right
	wrong
)

// begin says whether a password may be looked at now. If so, end must follow.
func (t *throttle) begin(who guesser, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.guessers[who]
	if g.wrong <= freeGuesses {
		return true
	}
	if g.busy || now.Before(g.next) {
		return false
	}
	g.busy = true
	t.guessers[who] = g
	return true
}

func (t *throttle) end(who guesser, now time.Time, result outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	g, known := t.guessers[who]
	g.busy = false
	switch {
	case result == right:
		delete(t.guessers, who)
		return
	case result == wrong:
		g.wrong++
		g.next = now.Add(penalty(g.wrong))
	case !known:
		return
	}
	if !known {
		t.makeRoom()
	}
	t.guessers[who] = g
}

// penalty returns how long after so many wrong passwords nothing is looked at.
func penalty(wrong int) time.Duration {
	if wrong <= freeGuesses {
		return 0
	}
	return min(maxPenalty, firstPause<<min(wrong-freeGuesses-1, 10))
}

// makeRoom forgets the guesser whose pause ends first, when there are too many.
// To get rid of his own pause that way, one has to wait for thousands of hashes.
func (t *throttle) makeRoom() {
	if t.guessers == nil {
		t.guessers = make(map[guesser]guesses)
	}
	if len(t.guessers) < maxGuessers {
		return
	}
	var first guesser
	var ends time.Time
	for who, g := range t.guessers {
		if ends.IsZero() || g.next.Before(ends) {
			first, ends = who, g.next
		}
	}
	delete(t.guessers, first)
}

const (
	// sayAgain is how long a log line about one peer is enough.
	sayAgain = time.Minute
	// maxSaid bounds how many peers are remembered.
	maxSaid = 1024
)

// said remembers what was logged lately: a peer that does wrong does it all day,
// and the log is on flash, too.
type said struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// first says whether nothing was logged about a peer for some time. When too
// many are remembered, nothing new is said until the oldest can go.
func (s *said) first(peer string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last[peer]) < sayAgain {
		return false
	}
	if s.last == nil {
		s.last = make(map[string]time.Time)
	}
	if _, known := s.last[peer]; !known && len(s.last) >= maxSaid && !s.forget(now) {
		return false
	}
	s.last[peer] = now
	return true
}

// forget drops what is long enough ago. It returns false when nothing is.
func (s *said) forget(now time.Time) bool {
	before := len(s.last)
	for peer, at := range s.last {
		if now.Sub(at) >= sayAgain {
			delete(s.last, peer)
		}
	}
	return len(s.last) < before
}
