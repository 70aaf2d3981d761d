package mqttout

import (
	"context"
	"time"
)

// State is what the server is told about the gateway, as a retained message: it
// is online, it has closed an idle connection, it is going. The last one is its
// will, too, which the server publishes when the gateway is gone without a word.
//
// They are published with QoS 0: what becomes of them is not held against the
// readings, and the next connection says it again.
type State struct {
	Topic                 string
	Online, Idle, Offline string
	// Delay is how long the server waits before it publishes the will. The
	// gateway may be back by then. MQTT 5 only.
	Delay time.Duration
}

// message is a publication of the state; nil if nothing is told.
func (t *State) message(text func(*State) string) *publication {
	if t == nil {
		return nil
	}
	return &publication{topic: t.Topic, payload: []byte(text(t)), retain: true, text: true}
}

func (t *State) online() *publication { return t.message(func(t *State) string { return t.Online }) }

func (t *State) idle() *publication { return t.message(func(t *State) string { return t.Idle }) }

func (t *State) offline() *publication { return t.message(func(t *State) string { return t.Offline }) }

func (t *State) delay() time.Duration {
	if t == nil {
		return 0
	}
	return t.Delay
}

// sessionIsOfUse reports whether something is to outlive a connection: exchanges
// of QoS 2, or, in MQTT 5, the time that a will waits.
func (c *Config) sessionIsOfUse(level byte) bool {
	return c.QoS == 2 || c.Raw || level >= level5 && c.State.delay() > 0
}

// open makes the link for Sends, with a session if that is of use.
//
// A session that an earlier process has left knows identifiers that nobody here
// does, and its server would take new publications for old ones. MQTT 5 can
// begin another in the same breath; in MQTT 3.1.1 one that begins clean ends
// with its connection, so the old one is ended first, if there is one.
func (s *Sink) open(ctx context.Context) (*link, error) {
	l := login{clientID: s.cfg.ClientID, will: s.cfg.State.offline()}
	made, err := s.connect(ctx, l)
	if err == nil && made.terms.present && !s.begun {
		for _, l.clean = range []bool{true, false} {
			made.start()
			made.leave(nil)
			if made, err = s.connect(ctx, l); err != nil {
				break
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if !made.terms.present {
		s.left.dropOpen()
	}
	made.inherit(s.left)
	s.begun, s.left = true, nil
	made.open(s.cfg.State)
	return made, nil
}

// suit decides how a login goes with what is known of the server.
func (s *Sink) suit(l login) login {
	if l.clean {
		return l
	}
	l.session = s.cfg.sessionIsOfUse(l.level)
	l.clean = !l.session || l.level >= level5 && !s.begun
	return l
}

// open says that the gateway is there, and begins.
func (l *link) open(t *State) {
	if t != nil && l.terms.retain {
		l.goodbye = t.idle()
		birth := t.online()
		l.mu.Lock()
		l.push(outgoing{head: birth.appendHead(nil, wireForm{level: l.terms.level}), payload: birth.payload})
		l.mu.Unlock()
	}
	l.start()
}
