package coapin

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// serve does what a request asks for, and answers it now or when its readings
// are on flash.
func (v *server) serve(ctx context.Context, w *worker, e *exchange) {
	m, r := &w.message, &w.request
	c, why := r.read(m)
	switch {
	case c == badOption && e.kind == nonConfirmable: // RFC 7252 §5.4.1
		v.reject(w, e)
		return
	case c != empty:
		v.reply(w, e, refuse(c, why))
		return
	}
	e.mute = r.mute
	switch m.code {
	case get:
		v.reply(w, e, v.look(r, e))
	case post, put:
		v.store(ctx, w, e)
	default:
		v.reply(w, e, refuse(notAllowed, "POST or PUT"))
	}
}

// reply answers at once.
func (v *server) reply(w *worker, e *exchange, a answer) { w.out = v.finish(w.out, e, &a) }

// store takes a payload, or a block of one.
func (v *server) store(ctx context.Context, w *worker, e *exchange) {
	r, payload := &w.request, w.message.payload
	known, why := v.targets.find(r, e.key.peer.user)
	if known == nil {
		v.reply(w, e, refuse(notFound, why))
		return
	}
	if r.block1 == nil {
		if len(payload) > v.cfg.MaxBody {
			v.reply(w, e, answer{code: tooLarge, size1: uint32(v.cfg.MaxBody)})
			return
		}
		v.deliver(ctx, w, e, known, payload, answer{code: changed})
		return
	}
	v.mu.Lock()
	whole, c, wrong := v.bodies.add(e.key.peer, r, payload, v.now())
	v.mu.Unlock()
	a := answer{code: c, block1: *r.block1, inBlocks: true, payload: []byte(wrong)}
	switch c {
	case changed:
		v.deliver(ctx, w, e, known, whole, a)
		return
	case tooLarge:
		a.size1 = uint32(v.cfg.MaxBody)
	case notNow:
		a.maxAge = whenBusy
	}
	v.reply(w, e, a)
}

// deliver hands a whole payload to custody. The answer a is for when it is there.
func (v *server) deliver(ctx context.Context, w *worker, e *exchange, known *target, payload []byte, a answer) {
	if !v.reserve() {
		v.stats.notStored.Add(1)
		a.maxAge = whenBusy
		v.reply(w, e, a.but(notNow, "busy"))
		return
	}
	// From here on there is room in v.due.
	intake := v.intake.Passage()
	defer intake.Leave()
	rs, fate, err := known.target.Read(w.readings[:0], payload, route.Arrival{Intake: intake, Now: intake.Now()})
	defer func() {
		clear(rs)
		w.readings = rs[:0]
	}()
	switch fate {
	case route.Dropped:
		v.stats.dropped.Add(1)
		v.release()
		v.reply(w, e, a.but(badRequest, err.Error()))
		return
	case route.Opaque:
		v.stats.opaque.Add(1)
	}
	if len(rs) == 0 && !intake.Owes() {
		v.release()
		v.reply(w, e, a)
		return
	}
	receipt, err := v.give(ctx, intake, rs)
	if err != nil {
		v.release()
		v.stats.notStored.Add(1)
		if a.maxAge = whenFull; errors.Is(err, context.DeadlineExceeded) {
			a.maxAge = whenBusy
		}
		v.reply(w, e, a.but(notNow, ""))
		return
	}
	v.targets.use(known)
	v.due <- due{e, receipt, a}
}

// How long a request waits for room in custody: until its client sends it again
// (ACK_TIMEOUT, RFC 7252 §4.8), and next to nothing when the one before found
// none. Datagrams that are left in the socket come late: their readings would get
// a time at which nothing was measured.
const (
	patience   = 2 * time.Second
	impatience = time.Millisecond
)

// give hands readings to custody and waits for room, but not for long.
func (v *server) give(ctx context.Context, intake *ingest.Intake, rs []reading.Reading) (ingest.Receipt, error) {
	wait := patience
	if v.crowded.Load() {
		wait = impatience
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	receipt, err := intake.Accept(ctx, rs)
	v.crowded.Store(errors.Is(err, context.DeadlineExceeded))
	return receipt, err
}

// but is the answer with another code, and words for people.
func (a answer) but(c code, why string) answer {
	a.code, a.payload = c, []byte(why)
	return a
}
