package onelink

import (
	"context"
	"errors"

	"github.com/tidegate/tidegate/internal/netfault"
)

// ErrClosed says that a Seat was closed.
var ErrClosed = errors.New("the door is closed")

// Link is a connection that somebody is logged in over.
type Link interface {
	// Alive reports whether the link can be used, as far as is known.
	Alive() bool
	// Close releases the link, soon, whatever the other side does.
	Close() error
}

// Seat holds the one link that many share. It is made by whoever needs it first,
// and anew by whoever finds it dead. Only the one who makes it waits for the
// network; the others wait no longer than they want.
type Seat[L Link] struct {
	place chan seated[L]
}

type seated[L Link] struct {
	link          L
	taken, closed bool
}

// NewSeat returns an empty Seat.
func NewSeat[L Link]() *Seat[L] {
	s := &Seat[L]{place: make(chan seated[L], 1)}
	s.place <- seated[L]{}
	return s
}

// Get returns the link, and opens it if there is none that is alive. Whoever has no
// time left gets none: the link could not tell that from a network without answers.
func (s *Seat[L]) Get(ctx context.Context, open func(context.Context) (L, error)) (L, error) {
	var held seated[L]
	select {
	case held = <-s.place:
	case <-ctx.Done():
		return held.link, netfault.Explain(ctx.Err())
	}
	defer func() { s.place <- held }()
	if held.closed {
		return held.link, ErrClosed
	}
	if err := ctx.Err(); err != nil {
		var none L
		return none, netfault.Explain(err)
	}
	if held.taken && held.link.Alive() {
		return held.link, nil
	}
	if held.taken {
		held.link.Close() // what it says is known: it is dead
		held = seated[L]{}
	}
	link, err := open(ctx)
	if err != nil {
		var none L
		return none, err
	}
	held.link, held.taken = link, true
	return link, nil
}

// Close closes the link, and every Get from now on fails.
func (s *Seat[L]) Close() error {
	held := <-s.place
	defer func() { s.place <- seated[L]{closed: true} }()
	if held.taken {
		return held.link.Close()
	}
	return nil
}
