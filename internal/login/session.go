package login

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"time"
)

const (
	maxSessions = 64
	// idleTime is how long a session lasts without a request, sessionTime how
	// long with them.
	idleTime    = 12 * time.Hour
	sessionTime = 7 * 24 * time.Hour
)

// digest is what is kept of a secret of 256 random bits, which needs no salt.
type digest [sha256.Size]byte

func digestOf(secret string) digest { return sha256.Sum256([]byte(secret)) }

func newSecret() string {
	random := make([]byte, 32)
	rand.Read(random) // never fails
	return base64.RawURLEncoding.EncodeToString(random)
}

// session is one browser of the operator's.
type session struct {
	ties
	began, used time.Time
}

func (s *session) ends() time.Time {
	idle, end := s.used.Add(idleTime), s.began.Add(sessionTime)
	if idle.Before(end) {
		return idle
	}
	return end
}

// ties are the requests that a session, or a token, has allowed and that are not
// over.
type ties struct {
	ended   bool
	cancels map[int]func()
	next    int
}

// end ends them. The caller holds the gate's mutex.
func (t *ties) end() {
	t.ended = true
	for _, cancel := range t.cancels {
		cancel()
	}
	t.cancels = nil
}

// Grant is what somebody may do who has shown a secret.
type Grant struct {
	Level Level
	// Token is the token's name; empty stands for a session of the operator.
	Token string
	// Ends is when it ends if nothing happens; zero stands for never.
	Ends time.Time

	gate *Gate
	ties *ties
}

// Tie calls cancel, which must not block, when the grant ends early: when the
// session is closed, or the token revoked. release unties the two.
func (gr Grant) Tie(cancel func()) (release func()) {
	gr.gate.mu.Lock()
	defer gr.gate.mu.Unlock()
	t := gr.ties
	if t.ended {
		cancel()
		return func() {}
	}
	if t.cancels == nil {
		t.cancels = make(map[int]func())
	}
	key := t.next
	t.next++
	t.cancels[key] = cancel
	return func() {
		gr.gate.mu.Lock()
		defer gr.gate.mu.Unlock()
		delete(t.cancels, key)
	}
}

// newSession makes room where there is none. The caller holds g.mu.
func (g *Gate) newSession() (secret string) {
	g.sweep()
	if len(g.sessions) >= maxSessions {
		g.endSession(oldest(g.sessions, func(s *session) time.Time { return s.used }))
	}
	now := g.config.Now()
	secret = newSecret()
	g.sessions[digestOf(secret)] = &session{began: now, used: now}
	return secret
}

// sweep ends the sessions whose time is over. The caller holds g.mu.
func (g *Gate) sweep() {
	now := g.config.Now()
	for d, s := range g.sessions {
		if !now.Before(s.ends()) {
			g.endSession(d)
		}
	}
}

func (g *Gate) endSession(d digest) {
	if s := g.sessions[d]; s != nil {
		s.end()
		delete(g.sessions, d)
	}
}

func (g *Gate) endAll() {
	for d := range g.sessions {
		g.endSession(d)
	}
}

// Session returns what the secret of a session allows, and counts as its use.
func (g *Gate) Session(secret string) (Grant, bool) {
	if secret == "" {
		return Grant{}, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	d, now := digestOf(secret), g.config.Now()
	s := g.sessions[d]
	if s == nil || !now.Before(s.ends()) {
		g.endSession(d)
		return Grant{}, false
	}
	s.used = now
	return Grant{Level: Operate, Ends: s.ends(), gate: g, ties: &s.ties}, true
}

// SignOut ends a session, if there is one.
func (g *Gate) SignOut(from From, secret string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := digestOf(secret); g.sessions[d] != nil {
		g.endSession(d)
		g.events.note(SignedOut, from)
	}
}
