package dialect

import "sync"

const (
	maxSeen       = 4096
	maxSeenLength = 512 // bytes of a name
)

// seen keeps what was learnt about names, so that those that are said all day
// cost nothing. It forgets everything when it is full, which is slower and
// nothing else.
type seen[K comparable, V any] struct {
	mu    sync.RWMutex
	known map[K]V
}

func (s *seen[K, V]) find(key K) (V, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	v, ok := s.known[key]
	return v, ok
}

func (s *seen[K, V]) keep(key K, length int, v V) V {
	if length > maxSeenLength {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxSeen {
		s.known = make(map[K]V)
	}
	s.known[key] = v
	return v
}

// topics keeps what a dialect says about topics.
type topics[V any] struct {
	seen  seen[string, V]
	learn func(topic string) V
}

func (t *topics[V]) find(topic string) V {
	if v, ok := t.seen.find(topic); ok {
		return v
	}
	return t.seen.keep(topic, len(topic), t.learn(topic))
}

// joined keeps names that are made of two.
type joined struct{ seen seen[[2]string, string] }

// with returns the name with a prefix and a dot before it; without both if the
// prefix is empty.
func (j *joined) with(prefix, name string) string {
	if prefix == "" {
		return name
	}
	key := [2]string{prefix, name}
	if v, ok := j.seen.find(key); ok {
		return v
	}
	return j.seen.keep(key, len(prefix)+len(name), prefix+"."+name)
}
