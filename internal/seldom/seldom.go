// Package seldom remembers of whom was told lately: a peer that does wrong does it all
// day, and the log is on flash, too.
package seldom

import (
	"sync"
	"time"
)

const (
	// Again is how long nothing more is said about a peer under one name.
	Again = time.Minute
	// Each bounds how many names of a peer are told of in that time: it may be a router
	// that devices are behind, or somebody who guesses.
	Each = 10
	// Most bounds how many are remembered of all peers.
	Most = 1024
)

// Told is of whom was told. The zero Told is ready; all methods may be called from any
// goroutine.
type Told struct {
	mu   sync.Mutex
	last map[string]map[string]time.Time // by peer and name
	size int                             // how many there are in it
}

// First says whether nothing was told of a peer under this name for some time, nor of too
// many others of it, and notes that it is now. When too many are remembered, nothing new is
// told until the oldest can go.
func (s *Told) First(peer, name string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last[peer][name]) < Again {
		return false
	}
	s.forget(now)
	if s.size >= Most || len(s.last[peer]) >= Each {
		return false
	}
	if s.last == nil {
		s.last = make(map[string]map[string]time.Time)
	}
	if s.last[peer] == nil {
		s.last[peer] = make(map[string]time.Time)
	}
	s.last[peer][name] = now
	s.size++
	return true
}

// forget drops what is long enough ago.
func (s *Told) forget(now time.Time) {
	for peer, names := range s.last {
		for name, at := range names {
			if now.Sub(at) >= Again {
				delete(names, name)
				s.size--
			}
		}
		if len(names) == 0 {
			delete(s.last, peer)
		}
	}
}
