package mqttin

import "time"

const (
	// tendInterval is how often the broker looks after what nobody else does, at the
	// most: nothing of it is needed sooner.
	tendInterval = time.Second
	// tendRest is how often it looks when nothing is due before.
	tendRest = time.Minute
	// settle is how long a note may take that is made while the gateway stops.
	settle = time.Second
)

// tend looks after what time brings, until the broker stops. With nothing to wait for
// it sleeps: a gateway that idles should not cost a processor its sleep.
func (b *broker) tend() {
	next := time.NewTimer(tendRest)
	defer next.Stop()
	for {
		next.Reset(b.tendOnce())
		select {
		case <-b.ctx.Done():
			return
		case <-next.C:
			continue
		case <-b.roused:
		}
		next.Reset(tendInterval)
		select {
		case <-b.ctx.Done():
			return
		case <-next.C:
		}
	}
}

// rouse has tend look again soon: something may be due before it thinks.
func (b *broker) rouse() { signal(b.roused) }

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default: // it knows already
	}
}

// tendOnce returns when to look again.
func (b *broker) tendOnce() (rest time.Duration) {
	now := b.clock.uptime()
	rest = tendRest
	for _, s := range b.everySession() {
		s.poke()
		b.publishDue(s, now)
		b.expire(s, now)
		rest = min(rest, s.due(now))
	}
	rest = min(rest, b.expireRetained(now))
	if b.memory.isStale() && b.reconcile(b.ctx) == nil {
		b.memory.fresh()
	}
	_ = b.memory.flush(b.ctx) // it waits for the next time otherwise
	if b.memory.isBusy() {
		rest = 0
	}
	return max(rest, tendInterval)
}

// due returns how long the session need not be looked at.
func (s *session) due(now time.Duration) time.Duration {
	left, away := s.away()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ended:
		return tendRest
	case s.attached != nil && len(s.queue) > 0, s.attached == nil && !away:
		return 0
	case s.attached != nil:
		return tendRest
	case s.will != nil && s.will.waits:
		return min(s.will.due, left+s.expiry) - now
	}
	return left + s.expiry - now
}

// publishDue publishes the will of a session when its delay is over. Nobody can
// claim the session meanwhile: what is noted of it with the will would overwrite
// what is noted of the client who is back.
func (b *broker) publishDue(s *session, now time.Duration) {
	if !s.hasDueWill(now) || !b.claim.TryLock() {
		return
	}
	defer b.claim.Unlock()
	if !s.hasDueWill(now) {
		return
	}
	s.mu.Lock()
	w := s.will
	s.will = nil
	s.mu.Unlock()
	b.publishWill(s, w)
}

func (s *session) hasDueWill(now time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.will != nil && s.will.waits && s.will.due <= now
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
