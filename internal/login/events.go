package login

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"time"
)

// Event is something that is about security, in a word for logs and metrics.
type Event string

// The events. Denied is a request without the access that it needs; ForeignHost
// and ForeignOrigin are what other web pages make a browser do.
const (
	SetUp           Event = "set_up"
	SignedIn        Event = "signed_in"
	SignedOut       Event = "signed_out"
	WrongPassword   Event = "wrong_password"
	WrongCode       Event = "wrong_code"
	WrongToken      Event = "wrong_token"
	Delayed         Event = "delayed"
	PasswordChanged Event = "password_changed"
	OperatorReset   Event = "operator_reset"
	TokenMade       Event = "token_made"
	TokenRevoked    Event = "token_revoked"
	TokenUsed       Event = "token_used"
	Denied          Event = "denied"
	ForeignHost     Event = "foreign_host"
	ForeignOrigin   Event = "foreign_origin"
)

// levels says how loud an event is.
var levels = map[Event]slog.Level{
	SetUp: slog.LevelInfo, SignedIn: slog.LevelInfo, SignedOut: slog.LevelInfo, TokenUsed: slog.LevelInfo,
	TokenMade: slog.LevelInfo, TokenRevoked: slog.LevelInfo, PasswordChanged: slog.LevelInfo, OperatorReset: slog.LevelWarn,
	WrongPassword: slog.LevelWarn, WrongCode: slog.LevelWarn, WrongToken: slog.LevelWarn, Delayed: slog.LevelWarn,
	ForeignHost: slog.LevelWarn, ForeignOrigin: slog.LevelWarn, Denied: slog.LevelDebug,
}

const (
	// linesAMinute bounds what an event writes: who guesses must not wear out
	// the flash that the journal is on.
	linesAMinute = 5
	minute       = time.Minute
)

// events counts and logs.
type events struct {
	log *slog.Logger
	now func() time.Time

	mu    sync.Mutex
	lines map[Event]*lines
}

// lines is what an event has written since a minute began.
type lines struct {
	count  uint64
	began  time.Time
	said   int
	unsaid uint64 // since the last line
}

func newEvents(log *slog.Logger, now func() time.Time) *events {
	e := &events{log: log, now: now, lines: make(map[Event]*lines)}
	for event := range levels {
		e.lines[event] = &lines{}
	}
	return e
}

// note counts an event, and logs it unless it has been said often enough.
func (e *events) note(event Event, from From, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	l, now := e.lines[event], e.now()
	l.count++
	if l.began.IsZero() || now.Sub(l.began) >= minute {
		l.began, l.said = now, 0
	}
	if l.said >= linesAMinute {
		l.unsaid++
		return
	}
	l.said++
	args = append([]any{"event", string(event), "from", from.String()}, args...)
	if l.unsaid > 0 {
		args = append(args, "unsaid", l.unsaid)
	}
	l.unsaid = 0
	e.log.Log(context.Background(), levels[event], "access", args...)
}

func (e *events) all() map[Event]uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	counts := make(map[Event]uint64, len(e.lines))
	for event := range maps.Keys(e.lines) {
		counts[event] = e.lines[event].count
	}
	return counts
}

// Note counts an event that was seen elsewhere, and logs it, with pairs of keys
// and values.
func (g *Gate) Note(event Event, from From, args ...any) { g.events.note(event, from, args...) }

// String says it in words for a log.
func (f From) String() string {
	switch {
	case f.Proxied:
		return "a proxy at " + f.Addr.String()
	case f.Local:
		return "this machine"
	}
	return f.Addr.String()
}
