// Package login knows who may do what with the gateway: one operator with a
// password, the sessions of his browsers, and the tokens that he gave to programs.
// It knows nothing of HTTP; who asks shows a secret, and where he is.
//
//	set-up code ─► operator ─► sessions   12 hours without use, 7 days at the most
//	               operator ─► tokens     until they are revoked
//
// There is no password to begin with. As long as there is no operator, a code that
// only this machine tells makes the first password, within half an hour of a
// start, from a network that is near.
//
// What is kept, each file for its owner only, and replaced as a whole:
//
//	operator.json   the operator's password, hashed
//	tokens.json     names and SHA-256 of the tokens
//	setup-code      the code, until it was used
//
// Sessions are in memory: a restart of the gateway ends them.
package login

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"
)

// Level is what somebody may do. As text it is none, look or operate.
type Level uint8

// The levels: each includes those before it.
const (
	None Level = iota
	Look
	Operate
)

// String implements fmt.Stringer.
func (l Level) String() string { return [...]string{"none", "look", "operate"}[min(l, Operate)] }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(text []byte) error {
	switch string(text) {
	case "none":
		*l = None
	case "look":
		*l = Look
	case "operate":
		*l = Operate
	default:
		return fmt.Errorf("%.20q is no access: it is look or operate", text)
	}
	return nil
}

// From is where a request comes from.
type From struct {
	// Addr is the other end of the connection.
	Addr netip.Addr
	// Local means that a program on this machine asks, and for nobody else.
	Local bool
	// Proxied means that the other end passes on what somebody else asks, who
	// may be anywhere.
	Proxied bool
}

// near says whether somebody beside the gateway asks: in the same building, as
// far as addresses tell.
func (f From) near() bool {
	a := f.Addr.Unmap()
	return f.Local || !f.Proxied && (a.IsPrivate() || a.IsLinkLocalUnicast() || a.IsLoopback())
}

// Config is what a Gate needs.
type Config struct {
	// Dir is the folder for what has to last.
	Dir string
	// Gateway is the gateway's name, which is no password.
	Gateway string
	// Hash makes of a password what is kept of it; Parse makes of that what
	// compares. Both may cost a hundred milliseconds.
	Hash  func(password []byte) string
	Parse func(hashed string) (is func(password []byte) bool, err error)
	// Now is the clock. Only its steps forward count, so it may say 1970.
	Now func() time.Time
}

// Gate decides who may do what. It is safe for use by many goroutines, and has
// none of its own.
type Gate struct {
	config Config
	events *events
	// hashing lets one password be hashed at a time: guesses are not to take
	// the gateway's processor.
	hashing chan struct{}

	mu       sync.Mutex // guards what follows
	operator *operator  // nil as long as there is none
	// spoiled says why it is not known whether there is an operator. Only this
	// machine itself may make one then.
	spoiled  error
	code     code
	sessions map[digest]*session
	tokens   []*token
	delays   delays
}

// Errors that callers tell apart. [Delay] is one more.
var (
	// ErrWrong is for a password or a code that is another.
	ErrWrong = errors.New("wrong")
	// ErrUnfit is for a password that is too easy to guess, and for a name that
	// is none.
	ErrUnfit = errors.New("not good enough")
	// ErrNotFromHere is for what may be done, but not from where it was asked.
	ErrNotFromHere = errors.New("not from here")
	// ErrUnknown is for a token that there is not.
	ErrUnknown = errors.New("unknown")
	// ErrNotKept is for what the disk did not take, and so did not happen.
	ErrNotKept = errors.New("could not be written")
)

// sentence is an error of a kind, with words of its own.
type sentence struct {
	text string
	kind error
}

func (s sentence) Error() string        { return s.text }
func (s sentence) Is(target error) bool { return target == s.kind }

// say words an error of a kind, or of none.
func say(kind error, format string, args ...any) error {
	return sentence{fmt.Sprintf(format, args...), kind}
}

// Open reads what is kept. It never fails: a gateway that cannot know its operator
// takes readings all the same, and lets nobody in. log is told of that, and of
// everything that is about security.
func Open(config Config, log *slog.Logger) *Gate {
	if config.Now == nil {
		config.Now = time.Now
	}
	g := &Gate{
		config:   config,
		events:   newEvents(log, config.Now),
		hashing:  make(chan struct{}, 1),
		sessions: make(map[digest]*session),
		delays:   newDelays(),
	}
	g.loadOperator(log)
	g.loadTokens(log)
	if g.operator == nil {
		g.code.until = config.Now().Add(codeTime)
		if err := g.loadCode(); err != nil {
			log.Warn("the set-up code could not be written down: it will be another one after a restart", "err", err)
		}
	} else {
		_ = erase(g.path(codeFile)) // left by a power cut; of no use to anybody
	}
	return g
}

func (g *Gate) path(name string) string { return filepath.Join(g.config.Dir, name) }

// State is what anybody may know who reaches the gateway.
type State struct {
	// SetUp says that there is an operator.
	SetUp bool
	// Why there can be none from where the question came; nil when he can.
	Why error
	// Wait is how long no password and no code is taken from there.
	Wait time.Duration
}

// State tells how things are for somebody.
func (g *Gate) State(from From) State {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := State{SetUp: g.operator != nil, Wait: g.delays.wait(g.config.Now(), from, g.operator != nil)}
	if !s.SetUp {
		s.Why = g.mayBegin(from)
	}
	return s
}

// Stats is how things are, for the gateway's status.
type Stats struct {
	// SetUp says that there is an operator; Spoiled why that is not known.
	SetUp   bool
	Spoiled error
	// Sessions and Tokens are those that are valid.
	Sessions, Tokens int
	// Events counts since the start.
	Events map[Event]uint64
}

// Stats tells how things are.
func (g *Gate) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sweep()
	return Stats{SetUp: g.operator != nil, Spoiled: g.spoiled, Sessions: len(g.sessions), Tokens: len(g.tokens), Events: g.events.all()}
}
