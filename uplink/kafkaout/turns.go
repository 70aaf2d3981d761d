//go:build !nokafka

package kafkaout

import (
	"context"
	"sync/atomic"
)

// maxSends is how many Sends may be under way at once; others wait.
const maxSends = 64

// turns lets Sends go side by side, or one alone. The library fails everything
// that waits for a partition together with the record that was refused, so only
// a Send that was alone knows that the refusal was meant for it.
type turns struct {
	door    chan struct{} // held by who enters, and by who waits to be alone
	inside  chan struct{} // one for every Send that is under way
	entered atomic.Uint64
}

func newTurns() *turns {
	return &turns{door: make(chan struct{}, 1), inside: make(chan struct{}, maxSends)}
}

// turn is one Send's.
type turn struct {
	turns *turns
	held  int
	first bool   // nobody was inside when it began
	at    uint64 // what entered was then
}

// enter waits until nobody is alone, and begins a turn beside others.
func (t *turns) enter(ctx context.Context) (turn, error) {
	return t.take(ctx, 1)
}

// alone waits until everybody has left, and lets nobody in.
func (t *turns) alone(ctx context.Context) (turn, error) {
	return t.take(ctx, maxSends)
}

func (t *turns) take(ctx context.Context, n int) (turn, error) {
	w := turn{turns: t}
	select {
	case t.door <- struct{}{}:
		defer func() { <-t.door }()
	case <-ctx.Done():
		return w, ctx.Err()
	}
	for w.held < n {
		select {
		case t.inside <- struct{}{}:
			w.held++
		case <-ctx.Done():
			w.leave()
			return w, ctx.Err()
		}
	}
	w.first = len(t.inside) == w.held
	w.at = t.entered.Add(1)
	return w, nil
}

// wasAlone says whether nobody else was inside from its begin until now.
func (w turn) wasAlone() bool { return w.first && w.turns.entered.Load() == w.at }

// leave ends the turn.
func (w *turn) leave() {
	for ; w.held > 0; w.held-- {
		<-w.turns.inside
	}
}
