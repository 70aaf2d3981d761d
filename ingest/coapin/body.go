package coapin

import "time"

const (
	// bodyLifetime is how long a body waits for its next block. A client gives
	// up a block after 93 seconds (MAX_TRANSMIT_WAIT, RFC 7252 §4.8.2).
	bodyLifetime = 100 * time.Second
	// bodyIdle is after how long a body may be given up for another one, when
	// there is no room for both: its client has sent its block again twice.
	bodyIdle = 10 * time.Second
	// bodyOverhead is what a body costs beside its bytes and what tells it from
	// others.
	bodyOverhead = 512
)

// body is what has come of a payload that comes in blocks.
type body struct {
	format int
	data   []byte
	until  time.Time
}

type bodyKey struct {
	peer *endpoint
	// operation is method, path, query and Request-Tag: two bodies that differ
	// in none of them are one, and the later one takes its place.
	operation string
}

// cost is what a body takes before its first byte.
func (k bodyKey) cost() int { return bodyOverhead + len(k.operation) }

// bodies puts blocks together. Blocks must come in order, as they do from
// clients that wait for the answer to each.
type bodies struct {
	largest int // bytes of one body
	most    int // bytes of all, with their overhead
	used    int
	known   map[bodyKey]*body
}

func newBodies(largest, most int) bodies {
	return bodies{largest: largest, most: most, known: make(map[bodyKey]*body)}
}

// add takes in one block. It returns changed and the whole body, or continued,
// or what is wrong, with words for people.
func (s *bodies) add(p *endpoint, r *request, payload []byte, now time.Time) (whole []byte, c code, why string) {
	b := r.block1
	switch {
	case b.more && len(payload) != b.size():
		return nil, badRequest, "block is not of its size"
	case len(payload) > b.size():
		return nil, badRequest, "block is larger than its size"
	case b.offset()+len(payload) > s.largest || r.size1 > uint32(s.largest):
		s.forget(bodyKey{p, string(r.operation)})
		return nil, tooLarge, ""
	case b.number == 0 && !b.more:
		s.forget(bodyKey{p, string(r.operation)})
		return payload, changed, ""
	}
	key := bodyKey{p, string(r.operation)}
	if b.number == 0 {
		s.forget(key)
		if !s.begin(key, r.format, len(payload), now) {
			return nil, notNow, "too many bodies"
		}
	}
	return s.extend(key, r, payload, now)
}

func (s *bodies) extend(key bodyKey, r *request, payload []byte, now time.Time) ([]byte, code, string) {
	known := s.known[key]
	switch at := r.block1.offset(); {
	case known == nil || now.After(known.until):
		s.forget(key)
		return nil, incomplete, "begin with the first block"
	case known.format != r.format:
		s.forget(key)
		return nil, incomplete, "content-format differs"
	case at+len(payload) == len(known.data) && string(known.data[at:]) == string(payload) && r.block1.more:
		known.until = now.Add(bodyLifetime)
		return nil, continued, "" // it came again, in a new message
	case at != len(known.data):
		return nil, incomplete, "block is not the next one"
	}
	if !r.block1.more {
		s.forget(key)
		return append(known.data, payload...), changed, ""
	}
	if !s.room(len(payload), key, now) {
		s.forget(key)
		return nil, notNow, "too many bodies"
	}
	s.used += len(payload)
	known.data = append(known.data, payload...)
	known.until = now.Add(bodyLifetime)
	return nil, continued, ""
}

func (s *bodies) begin(key bodyKey, format, first int, now time.Time) bool {
	if !s.room(key.cost()+first, key, now) {
		return false
	}
	s.used += key.cost()
	s.known[key] = &body{format: format, until: now.Add(bodyLifetime)}
	return true
}

// room makes sure that n more bytes may be used, if need be by giving up bodies
// whose clients have long been silent.
func (s *bodies) room(n int, but bodyKey, now time.Time) bool {
	if s.used+n <= s.most {
		return true
	}
	for key, b := range s.known {
		if key != but && now.After(b.until.Add(bodyIdle-bodyLifetime)) {
			s.forget(key)
		}
	}
	return s.used+n <= s.most
}

func (s *bodies) forget(key bodyKey) {
	if b := s.known[key]; b != nil {
		s.used -= key.cost() + len(b.data)
		delete(s.known, key)
	}
}

// expire forgets bodies whose next block has not come in time, and all of a peer
// that is gone.
func (s *bodies) expire(now time.Time, gone *endpoint) {
	for key, b := range s.known {
		if now.After(b.until) || key.peer == gone {
			s.forget(key)
		}
	}
}
