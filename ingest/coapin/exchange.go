package coapin

import "time"

// The transmission parameters of RFC 7252 §4.8: for how long a message may come
// again.
const (
	exchangeLifetime = 247 * time.Second // confirmable
	nonLifetime      = 145 * time.Second // non-confirmable
)

// exchange is one request and its answer, kept for the case that the request
// comes again.
type exchange struct {
	key exchangeKey
	// sum is of the whole datagram: a device that has been restarted may use a
	// message ID again, for something else.
	sum     uint64
	kind    kind
	token   [maxToken]byte
	tokens  uint8 // bytes of token
	mute    byte  // see request.mute
	waiting bool  // there is no answer yet
	// most is how many bytes the answer may have.
	most   int
	until  time.Time
	kept   [48]byte // the answer, or as much of it as there is room for
	length int

	newer *exchange // in the order of their beginning; free ones are a chain, too
}

type exchangeKey struct {
	peer *endpoint
	id   uint16
}

// exchanges are those that may come again. When there are too many, the oldest
// answers are forgotten before their time; what waits for one is not.
type exchanges struct {
	most  int
	known map[exchangeKey]*exchange
	// oldest and newest are the ends of the chain.
	oldest, newest *exchange
	free           *exchange
	length         int
}

func newExchanges(most int) exchanges {
	return exchanges{most: most, known: make(map[exchangeKey]*exchange)}
}

// find returns the exchange that the message belongs to, nil if it is new.
func (x *exchanges) find(p *endpoint, id uint16, sum uint64, now time.Time) *exchange {
	x.expire(now)
	e, ok := x.known[exchangeKey{p, id}]
	if !ok || e.sum != sum || now.After(e.until) {
		return nil
	}
	return e
}

// open begins an exchange whose request has size bytes. It returns nil if there is no room, because all of
// them wait.
func (x *exchanges) open(p *endpoint, m *message, size int, sum uint64, now time.Time) *exchange {
	for range x.length {
		if x.length < x.most {
			break
		}
		if e := x.takeOldest(); e.waiting {
			x.add(e) // it must not be forgotten: it goes to the end of the queue
		} else {
			x.drop(e)
		}
	}
	if x.length >= x.most {
		return nil
	}
	e := x.free
	if e == nil {
		e = new(exchange)
	} else {
		x.free = e.newer
	}
	e.begin(p, m, size, sum, now)
	x.known[e.key] = e // in place of an older one with the same ID
	x.add(e)
	return e
}

// begin makes e the exchange of a request that has size bytes.
func (e *exchange) begin(p *endpoint, m *message, size int, sum uint64, now time.Time) {
	*e = exchange{key: exchangeKey{p, m.id}, sum: sum, kind: m.kind, waiting: true, most: maxAnswer, until: now.Add(exchangeLifetime)}
	e.tokens = uint8(copy(e.token[:], m.token))
	if !p.trusted {
		e.most = amplification * size
	}
	if m.kind == nonConfirmable {
		e.until = now.Add(nonLifetime)
	}
	p.waiting++
}

// answered keeps the answer for repeats; empty means that there is none. Its last
// bytes, as many as words, are for people and left out if there is no room.
func (x *exchanges) answered(e *exchange, b []byte, words int) {
	e.waiting = false
	e.key.peer.waiting--
	if len(b) > len(e.kept) && words > 0 {
		b = b[:len(b)-words-1] // and the marker before them
	}
	e.length = copy(e.kept[:], b)
}

func (e *exchange) answer() []byte { return e.kept[:e.length] }

// expire forgets what cannot come again any more. Exchanges are in the order of
// their beginning, and all but the lifetimes of the two kinds is equal: some
// stay a little longer than they have to.
func (x *exchanges) expire(now time.Time) {
	for x.oldest != nil && !x.oldest.waiting && now.After(x.oldest.until) {
		x.drop(x.takeOldest())
	}
}

func (x *exchanges) add(e *exchange) {
	e.newer = nil
	if x.newest == nil {
		x.oldest = e
	} else {
		x.newest.newer = e
	}
	x.newest = e
	x.length++
}

func (x *exchanges) takeOldest() *exchange {
	e := x.oldest
	if x.oldest = e.newer; x.oldest == nil {
		x.newest = nil
	}
	x.length--
	return e
}

func (x *exchanges) drop(e *exchange) {
	if x.known[e.key] == e {
		delete(x.known, e.key)
	}
	*e = exchange{newer: x.free}
	x.free = e
}
