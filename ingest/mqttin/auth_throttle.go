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
