// Package seldom remembers of whom was told lately: a peer that does wrong does it all
// day, and the log is on flash, too.
package seldom

import (
	"sync"
	"time"
)

const (
	// Again is how long nothing more is said about a peer.
	Again = time.Minute
	// Most bounds how many peers are remembered.
	Most = 1024
)

// Told is of whom was told. The zero Told is ready; all methods may be called from any
// goroutine.
type Told struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// First says whether nothing was told of a peer for some time, and notes that it is now.
// When too many are remembered, nothing new is told until the oldest can go.
func (s *Told) First(peer string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.last[peer]) < Again {
		return false
	}
	if s.last == nil {
		s.last = make(map[string]time.Time)
	}
	if _, known := s.last[peer]; !known && len(s.last) >= Most && !s.forget(now) {
		return false
	}
	s.last[peer] = now
	return true
}

// forget drops what is long enough ago. It returns false when nothing is.
func (s *Told) forget(now time.Time) bool {
	before := len(s.last)
	for peer, at := range s.last {
		if now.Sub(at) >= Again {
			delete(s.last, peer)
		}
	}
	return len(s.last) < before
}
