package login

import (
	"fmt"
	"net/netip"
	"time"
)

const (
	// free guesses cost nothing; the one after them makes the next wait for
	// firstWait, and each one more twice as long, up to mostWait.
	free      = 4
	firstWait = time.Second
	mostWait  = 5 * time.Minute
	// mostLocalWait is that of this machine itself: whoever guesses there must
	// not lock the operator out who stands before it.
	mostLocalWait = 8 * time.Second
	// forgiven is how long after the last wrong guess nothing of it is left.
	forgiven = time.Hour
	// maxAddresses bounds those whose guesses are counted, maxKnown those that
	// are known to be the operator's.
	maxAddresses = 1024
	maxKnown     = 64
)

// Delay means that there were too many wrong guesses.
type Delay struct {
	// Wait is how long no other is listened to, rounded up to seconds.
	Wait time.Duration
}

// Error implements error.
func (d *Delay) Error() string {
	return fmt.Sprintf("too many wrong guesses — hint: wait %v, then try again", d.Wait)
}

// place is what guesses are counted by: an address, or in IPv6 a network of one
// customer. All that a proxy passes on is one place.
type place struct {
	prefix  netip.Prefix
	proxied bool
}

func (f From) place() place {
	a := f.Addr.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	if f.Local {
		a, bits = netip.AddrFrom4([4]byte{127, 0, 0, 1}), 32
	}
	prefix, _ := a.Prefix(bits) // the bits are in range, and no address has no prefix
	return place{prefix, f.Proxied}
}

// tally counts wrong guesses.
type tally struct {
	wrong       int
	last, until time.Time
}

// delays slow guesses down, by where they come from, and all of them together:
// who has many addresses gains nothing. The latter does not hold for places that
// the operator has signed in from, nor for the machine itself: else anybody on the
// network could keep him out.
type delays struct {
	places  map[place]*tally
	known   map[place]time.Time
	account tally
}

func newDelays() delays {
	return delays{places: make(map[place]*tally), known: make(map[place]time.Time)}
}

// wait is how long somebody has to wait, account telling whether he would guess
// the password.
func (d *delays) wait(now time.Time, from From, account bool) time.Duration {
	var wait time.Duration
	if t := d.places[from.place()]; t != nil {
		wait = t.until.Sub(now)
	}
	if account && !d.exempt(from) {
		wait = max(wait, d.account.until.Sub(now))
	}
	if wait <= 0 {
		return 0
	}
	return (wait + time.Second - 1).Truncate(time.Second)
}

func (d *delays) exempt(from From) bool {
	_, known := d.known[from.place()]
	return known || from.Local
}

// begin counts a guess as wrong until it is forgiven, or returns how long to
// wait before it.
func (d *delays) begin(now time.Time, from From, account bool) time.Duration {
	if wait := d.wait(now, from, account); wait > 0 {
		return wait
	}
	t := d.places[from.place()]
	if t == nil {
		d.makeRoom()
		t = &tally{}
		d.places[from.place()] = t
	}
	most := mostWait
	if from.Local {
		most = mostLocalWait
	}
	t.count(now, most)
	if account && !d.exempt(from) {
		d.account.count(now, mostWait)
	}
	return 0
}

func (t *tally) count(now time.Time, most time.Duration) {
	if now.Sub(t.last) > forgiven {
		t.wrong = 0
	}
	t.wrong++
	t.last = now
	if beyond := t.wrong - free; beyond > 0 {
		t.until = now.Add(min(most, firstWait<<min(beyond-1, 16)))
	}
}

// makeRoom forgets the place that has been quiet for longest.
func (d *delays) makeRoom() {
	if len(d.places) >= maxAddresses {
		delete(d.places, oldest(d.places, func(t *tally) time.Time { return t.last }))
	}
}

// forgive forgets the guesses of somebody who has shown that he is the operator.
func (d *delays) forgive(from From) {
	delete(d.places, from.place())
	if !d.exempt(from) {
		d.account = tally{}
	}
}

// know remembers where the operator has signed in from.
func (d *delays) know(now time.Time, from From) {
	if len(d.known) >= maxKnown {
		delete(d.known, oldest(d.known, func(t time.Time) time.Time { return t }))
	}
	d.known[from.place()] = now
}

func (d *delays) forgiveAll() { *d = newDelays() }

func oldest[K comparable, V any](all map[K]V, when func(V) time.Time) (key K) {
	var first time.Time
	for k, v := range all {
		if at := when(v); first.IsZero() || at.Before(first) {
			key, first = k, at
		}
	}
	return key
}
