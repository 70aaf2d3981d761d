package dialect

import "sync"

// maxParsed bounds how many metrics the births have that are kept parsed, which
// takes some 20 times the memory of their notes. A message that parses its birth
// anew is slower and nothing else.
const maxParsed = 128 << 10

// birthCache keeps births that were parsed, by the keys of their notes. It forgets all
// of them when they are too many.
type birthCache struct {
	mu      sync.RWMutex
	known   map[string]parsedBirth
	metrics int
}

type parsedBirth struct {
	note  []byte
	birth *birth
}

// parse returns the birth of a note; nil if it is none.
func (s *birthCache) parse(key string, note []byte) *birth {
	s.mu.RLock()
	known, ok := s.known[key]
	s.mu.RUnlock()
	if ok && sameBytes(known.note, note) {
		return known.birth
	}
	b := parseBirth(note)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.known[key]; ok && old.birth != nil {
		s.metrics -= len(old.birth.metrics)
	}
	delete(s.known, key)
	if b == nil {
		return nil
	}
	if s.known == nil || len(s.known) >= maxSeen || s.metrics+len(b.metrics) > maxParsed {
		s.known, s.metrics = map[string]parsedBirth{}, 0
	}
	s.known[key] = parsedBirth{note, b}
	s.metrics += len(b.metrics)
	return b
}

// sameBytes says whether two slices are one. Nobody changes what was remembered.
func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
