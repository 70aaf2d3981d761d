package daemon

import (
	"sync"
	"time"
)

// spells is how long doors and links have been as they are: what is supervised may
// break and be started again.
type spells struct {
	mu  sync.Mutex
	all map[[2]string]spell // by kind and name
}

// spell is how one of them is.
type spell struct {
	since  time.Time // when it was started, or broke
	broken bool      // it waits to be started again
	breaks uint64
	err    string // of the last break
	at     time.Time
}

// fresh forgets what had the name before.
func (s *spells) fresh(kind, name string) { s.change(kind, name, func(one *spell) { *one = spell{} }) }

func (s *spells) begin(kind, name string, now time.Time) {
	s.change(kind, name, func(one *spell) { one.since, one.broken = now, false })
}

func (s *spells) end(kind, name string, err error) {
	now := time.Now()
	s.change(kind, name, func(one *spell) {
		one.since, one.at, one.broken = now, now, true
		one.breaks++
		if one.err = "it ended without a word"; err != nil {
			one.err = err.Error()
		}
	})
}

func (s *spells) change(kind, name string, to func(*spell)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[[2]string]spell)
	}
	one := s.all[[2]string{kind, name}]
	to(&one)
	s.all[[2]string{kind, name}] = one
}

func (s *spells) of(kind, name string) spell {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[[2]string{kind, name}]
}
