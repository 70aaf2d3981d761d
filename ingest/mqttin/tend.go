package mqttin

import "time"

const (
	// tendInterval is how often the broker looks after what nobody else does.
	tendInterval = time.Second
	// settle is how long a note may take that is made while the gateway stops.
	settle = time.Second
)

// tend looks after what time brings, until the broker stops.
func (b *broker) tend() {
	ticker := time.NewTicker(tendInterval)
	defer ticker.Stop()
	for {
		b.tendOnce()
		select {
		case <-b.ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (b *broker) tendOnce() {
	now := b.clock.uptime()
	for _, s := range b.everySession() {
		s.poke()
		if w := s.dueWill(now); w != nil {
			b.publishWill(s, w)
		}
		b.expire(s, now)
	}
	b.expireRetained(now)
	if b.memory.isStale() && b.reconcile(b.ctx) == nil {
		b.memory.fresh()
	}
	_ = b.memory.flush(b.ctx) // it waits for the next time otherwise
}

// dueWill returns the will of a session whose delay is over; the session has
// none then.
func (s *session) dueWill(now time.Duration) *will {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.will
	if w == nil || !w.waits || w.due > now {
		return nil
	}
	s.will = nil
	return w
}

// expire ends a session whose client has been away for too long. It asks again
// when nobody can claim the session any more.
func (b *broker) expire(s *session, now time.Duration) {
	if !s.isOver(now) || !b.claim.TryLock() {
		return
	}
	defer b.claim.Unlock()
	if s.isOver(now) {
		b.stats.expired.Add(1)
		b.expel(s)
	}
}

func (s *session) isOver(now time.Duration) bool {
	left, away := s.away()
	s.mu.Lock()
	defer s.mu.Unlock()
	return away && !s.ended && s.attached == nil && now-left >= s.expiry
}
