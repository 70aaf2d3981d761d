package coapin

import (
	"context"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/reading"
)

// server is what one Run serves with.
type server struct {
	cfg     Config
	log     *slog.Logger
	stats   *counters
	intake  *ingest.Intake
	seed    maphash.Seed
	now     func() time.Time
	targets targets
	workers sync.Pool   // of *worker
	due     chan due    // what waits for custody, with room for all of waiting
	crowded atomic.Bool // custody had no room for the last one

	mu        sync.Mutex
	endpoints endpoints
	exchanges exchanges
	bodies    bodies
	waiting   int
	resets    pace
}

// due is a request whose readings are on their way to flash.
type due struct {
	exchange *exchange
	receipt  ingest.Receipt
	answer   answer // when they are there
}

func newServer(s *Source, intake *ingest.Intake) *server {
	return &server{
		cfg: s.cfg, log: s.log, stats: &s.stats, intake: intake,
		seed: maphash.MakeSeed(), now: time.Now,
		targets:   newTargets(s.cfg),
		workers:   sync.Pool{New: func() any { return new(worker) }},
		due:       make(chan due, s.cfg.MaxWaiting),
		endpoints: newEndpoints(s.cfg.MaxEndpoints),
		exchanges: newExchanges(s.cfg.MaxExchanges),
		bodies:    newBodies(s.cfg.MaxBody, s.cfg.MaxBodies),
	}
}

// worker is the memory that one datagram needs, to be used again.
type worker struct {
	message  message
	request  request
	readings []reading.Reading
	out      []byte
}

// origin is where a datagram has come from: a session, or an address.
type origin struct {
	peer *endpoint // nil for plain UDP
	at   destination
	out  carrier
}

// take does what a datagram asks for. It blocks only while custody does, and not for long.
func (v *server) take(ctx context.Context, b []byte, from origin) {
	w := v.workers.Get().(*worker)
	defer v.workers.Put(w)
	m := &w.message
	err := m.parse(b)
	switch {
	case err != nil:
		v.stats.malformed.Add(1)
		if err != errNoMessage && m.kind == confirmable {
			v.reset(m.id, from)
		}
	case m.kind == acknowledgement || m.kind == reset:
		// Of answers that were not confirmable: there is nothing to be done.
	case m.code == empty || m.code.class() != 0:
		if m.kind == confirmable { // a ping, or an answer that nobody has asked for
			v.reset(m.id, from)
		}
	default:
		e, repeated := v.begin(w, b, from)
		switch {
		case e != nil:
			v.serve(ctx, w, e)
		case len(repeated) > 0:
			from.out.send(repeated, from.at)
		}
	}
}

// maxResets is how many resets are sent in a second: they tell a peer that we
// live, or that it is wrong, and neither is urgent.
const maxResets = 100

// reset refuses a message that is no request.
func (v *server) reset(id uint16, from origin) {
	v.mu.Lock()
	may := v.resets.take(maxResets, v.now())
	v.mu.Unlock()
	if may {
		m := message{kind: reset, id: id}
		from.out.send(m.appendTo(nil), from.at)
	}
}

// begin begins the exchange of a request. For one that has come before it returns
// the answer, which may not be there yet.
func (v *server) begin(w *worker, b []byte, from origin) (e *exchange, repeated []byte) {
	now, sum, m := v.now(), maphash.Bytes(v.seed, b), &w.message
	v.mu.Lock()
	defer v.mu.Unlock()
	p := from.peer
	if p == nil {
		if p = v.endpoints.meet(from.at, from.out, now); p == nil {
			v.stats.turnedAway.Add(1)
			return nil, nil
		}
		v.stats.endpoints.Store(int64(len(v.endpoints.known)))
	}
	if !p.take(v.cfg.MaxRate, now) {
		v.stats.slowed.Add(1)
		return nil, nil
	}
	if before := v.exchanges.find(p, m.id, sum, now); before != nil {
		v.stats.repeated.Add(1)
		if before.waiting {
			return nil, nil
		}
		w.out = append(w.out[:0], before.answer()...)
		return nil, w.out
	}
	if m.code == get { // which may be done again, RFC 7252 §4.5
		e = new(exchange)
		e.begin(p, m, len(b), sum, now)
	} else if e = v.exchanges.open(p, m, len(b), sum, now); e == nil {
		v.stats.turnedAway.Add(1)
		return nil, nil
	}
	v.stats.requests.Add(1)
	return e, nil
}

// finish answers a request, and keeps the answer. It returns the buffer.
func (v *server) finish(out []byte, e *exchange, a *answer) []byte {
	if c := a.code.class(); c != 2 && a.code != notNow {
		v.stats.refused.Add(1)
	}
	v.mu.Lock()
	p := e.key.peer
	to, carrier := p.destination, p.out
	out = e.encode(out[:0], a)
	v.exchanges.answered(e, out, len(a.payload)) // from here on it may be forgotten
	v.mu.Unlock()
	if len(out) > 0 {
		carrier.send(out, to)
	}
	return out
}

// reject answers a message with a reset, for want of a better answer.
func (v *server) reject(w *worker, e *exchange) {
	v.stats.refused.Add(1)
	m := message{kind: reset, id: e.key.id}
	w.out = m.appendTo(w.out[:0])
	v.mu.Lock()
	to, carrier := e.key.peer.destination, e.key.peer.out
	v.exchanges.answered(e, w.out, 0)
	v.mu.Unlock()
	carrier.send(w.out, to)
}

// encode appends the answer as its message; nothing if nobody wants it.
func (e *exchange) encode(b []byte, a *answer) []byte {
	k, id := acknowledgement, e.key.id
	if e.kind == nonConfirmable {
		k, id = nonConfirmable, e.key.peer.nextID
		e.key.peer.nextID++
	}
	switch muted := !wants(e.mute, a.code); {
	case muted && k == nonConfirmable:
		return b
	case muted:
		m := message{kind: acknowledgement, id: id}
		return m.appendTo(b)
	}
	whole := a.appendTo(b, k, id, e.token[:e.tokens])
	if len(whole)-len(b) > e.most && a.block2 == nil {
		a.payload = nil // words for people, for which there is no room
		whole = a.appendTo(b, k, id, e.token[:e.tokens])
	}
	return whole
}

// reserve makes sure that one more request may wait for custody.
func (v *server) reserve() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting >= v.cfg.MaxWaiting {
		return false
	}
	v.waiting++
	return true
}

func (v *server) release() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting--
}

// acknowledge answers requests as their receipts resolve, which they do in the
// order in which they were given out.
func (v *server) acknowledge(ctx context.Context) {
	var out []byte
	ok := true
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-v.due:
			if out, ok = v.conclude(ctx, out, d); !ok {
				v.due <- d // where there is room for it still
				return
			}
		}
	}
}

// acknowledgeRest answers what still waits when the server stops, as far as it is
// committed within that time.
func (v *server) acknowledgeRest(within time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var out []byte
	for ok := true; ok && v.waits(); {
		select {
		case d := <-v.due:
			out, ok = v.conclude(ctx, out, d)
		case <-ctx.Done():
			return
		}
	}
}

// waits says whether a request waits for custody, or is about to.
func (v *server) waits() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.waiting > 0
}

// conclude answers a request when its receipt resolves. It returns false if ctx ends
// before.
func (v *server) conclude(ctx context.Context, out []byte, d due) ([]byte, bool) {
	err := d.receipt.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		return out, false
	}
	if err != nil {
		v.stats.notStored.Add(1)
		d.answer.code, d.answer.maxAge = notNow, whenBroken
	}
	v.release()
	return v.finish(out, d.exchange, &d.answer), true
}

// forget forgets the bodies of a session that has ended. Its exchanges stay until
// they are too old, and must not keep the session in memory for so long.
func (v *server) forget(p *endpoint) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.bodies.expire(v.now(), p)
	p.out = nowhere{}
}

func (v *server) expire(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.exchanges.expire(now)
	v.bodies.expire(now, nil)
	v.endpoints.expire(now)
	v.stats.endpoints.Store(int64(len(v.endpoints.known)))
}
