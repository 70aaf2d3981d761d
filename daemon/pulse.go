package daemon

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// pulse feeds the watchdog of systemd, but only after a probe has gone the way of a
// reading: docs/decisions/0024 tells why, and what it costs.
type pulse struct {
	*Daemon
	probe  func(ctx context.Context) error
	within time.Duration // of this, systemd wants to hear; zero if it does not watch
	due    time.Time     // when the next probe is
	silent bool          // the last one was not answered
}

const (
	// A probe is sent so many times within the watchdog's time, and has a half of it.
	// What remains is for a card that is slow and for a change of the configuration.
	beats = 4
	// again is how soon after a probe without an answer the next one is sent, as a part
	// of the watchdog's time.
	again = 40
)

// beat sends a probe if one is due, and returns in what time the next one is.
func (p *pulse) beat(ctx context.Context) (next time.Duration) {
	if p.within == 0 {
		return math.MaxInt64
	}
	if wait := time.Until(p.due); wait > 0 {
		return wait
	}
	next = p.within / beats
	limited, cancel := context.WithTimeout(ctx, p.within/2)
	defer cancel()
	err := p.probe(limited)
	switch {
	case ctx.Err() != nil || p.stops.Load():
		return next // the doors are closed on purpose
	case err == nil:
		p.heed(p.systemd.Alive())
		if p.silent {
			p.log.Info("the gateway answers itself again")
		}
	default:
		next = p.within / again
		if !p.silent {
			p.log.Warn("the gateway does not answer itself; if that lasts, systemd starts it again, and what was acknowledged stays", "within", p.within, "err", err)
		}
	}
	p.silent = err != nil
	p.due = time.Now().Add(next)
	return next
}

// prove returns nil when a reading that came in now would be acknowledged, or refused
// with a word: a full disk is no reason to start again. Without an MQTT door, and while
// that waits to be opened again, it is custody alone that has to answer.
func (d *Daemon) prove(ctx context.Context) error {
	var door error
	if broker := d.current().broker(); broker != nil && !d.spells.of("source", "mqtt").broken {
		if door = broker.Probe(ctx); door == nil {
			return nil
		}
	}
	receipt, err := custody{buffer: d.buffer}.Accept(ctx, nil, reading.Note{})
	if err == nil {
		err = receipt.Wait(ctx)
	}
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("custody does not answer: %w", errors.Join(ctx.Err(), door))
	case err != nil:
		return nil // it says that it takes nothing, and why
	}
	return door
}
