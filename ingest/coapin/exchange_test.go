package coapin

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// remembered is an exchange, and what was answered; empty if nothing was.
type remembered struct {
	e      *exchange
	answer string
}

// stillThere returns the exchanges that have not been forgotten, and how many of
// them wait.
func stillThere(t *testing.T, open []*remembered) (left []*remembered, waiting int) {
	t.Helper()
	for _, o := range open {
		there := o.e.waiting == (o.answer == "") && (o.e.waiting || string(o.e.answer()) == o.answer)
		switch {
		case there && o.answer == "":
			waiting++
			fallthrough
		case there:
			left = append(left, o)
		case o.answer == "":
			t.Error("one that waits was forgotten")
		}
	}
	return left, waiting
}

// Exchanges against a model: a map of what was begun, in order.
func TestExchangesRemember(t *testing.T) {
	const most = 8
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	x := newExchanges(most)
	now := time.Now()
	peers := []*endpoint{{}, {}}
	var open []*remembered
	for i := range 20_000 {
		p := peers[random.IntN(len(peers))]
		m := message{kind: kind(random.IntN(2)), id: uint16(random.IntN(6)), token: []byte{byte(i)}}
		sum := uint64(random.IntN(2))
		switch random.IntN(4) {
		case 0: // time passes
			now = now.Add(time.Duration(random.IntN(40)) * time.Second)
		case 1: // an answer
			if len(open) == 0 {
				continue
			}
			o := open[random.IntN(len(open))]
			if o.e.waiting {
				o.answer = fmt.Sprint("answer ", i, string(make([]byte, random.IntN(30))))
				x.answered(o.e, []byte(o.answer), 0)
			}
		default:
			found := x.find(p, m.id, sum, now)
			if found != nil {
				if found.sum != sum || found.key != (exchangeKey{p, m.id}) || now.After(found.until) {
					t.Fatalf("seed %d, %d: found %+v", seed, i, found)
				}
				continue
			}
			if e := x.open(p, &m, 50, sum, now); e != nil {
				open = append(open, &remembered{e: e})
			} else if waiting := peers[0].waiting + peers[1].waiting; waiting < most {
				t.Fatalf("seed %d, %d: no room with %d waiting", seed, i, waiting)
			}
		}
		var waiting int
		if open, waiting = stillThere(t, open); t.Failed() {
			t.Fatalf("seed %d, %d", seed, i)
		}
		if x.length > most || len(x.known) > x.length || waiting != peers[0].waiting+peers[1].waiting {
			t.Fatalf("seed %d, %d: %d exchanges, %d known, %d wait", seed, i, x.length, len(x.known), waiting)
		}
	}
}

func TestExchangesEnd(t *testing.T) {
	for _, tt := range []struct {
		kind kind
		life time.Duration
	}{{confirmable, exchangeLifetime}, {nonConfirmable, nonLifetime}} {
		x := newExchanges(8)
		now := time.Now()
		p := &endpoint{}
		e := x.open(p, &message{kind: tt.kind, id: 1}, 50, 7, now)
		if x.find(p, 1, 7, now.Add(time.Hour)) != nil {
			t.Error("found after an hour")
		}
		if !e.waiting || x.length != 1 {
			t.Error("one that waits was forgotten")
		}
		x.answered(e, []byte("x"), 0)
		if x.find(p, 1, 7, now.Add(tt.life)) != e || x.find(p, 1, 8, now) != nil || x.find(p, 2, 7, now) != nil {
			t.Error("not found, or another one")
		}
		if x.find(p, 1, 7, now.Add(tt.life+1)) != nil || x.length != 0 || len(x.known) != 0 {
			t.Error("it does not end")
		}
	}
}

func TestSilentEndpointsMakeRoom(t *testing.T) {
	e := newEndpoints(3)
	now := time.Now()
	at := func(port uint16) destination {
		return destination{addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, 1}), port)}
	}
	first := e.meet(at(1), nil, now)
	e.meet(at(2), nil, now)
	e.meet(at(3), nil, now)
	if e.meet(at(1), nil, now) != first {
		t.Error("an endpoint is not known")
	}
	e.meet(at(4), nil, now) // in place of 2
	if len(e.known) != 3 || e.known[at(2).addr] != nil {
		t.Errorf("known are %v", e.known)
	}
	for _, p := range e.known {
		p.waiting = 1
	}
	if e.meet(at(5), nil, now) != nil {
		t.Error("one that waits was forgotten")
	}
	e.expire(now.Add(time.Hour))
	if len(e.known) != 3 {
		t.Error("one that waits was forgotten")
	}
	for _, p := range e.known {
		p.waiting = 0
	}
	e.expire(now.Add(exchangeLifetime))
	if len(e.known) != 3 {
		t.Error("forgotten too early")
	}
	e.expire(now.Add(exchangeLifetime + 1))
	if len(e.known) != 0 || e.order.Len() != 0 {
		t.Error("not forgotten")
	}
}

func TestPace(t *testing.T) {
	var p pace
	now := time.Now()
	taken := func(n int) (yes int) {
		for range n {
			if p.take(10, now) {
				yes++
			}
		}
		return yes
	}
	if n := taken(30); n != 10 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(500 * time.Millisecond)
	if n := taken(30); n != 5 {
		t.Errorf("%d after half a second", n)
	}
	now = now.Add(time.Hour)
	if n := taken(30); n != 10 {
		t.Errorf("%d after an hour", n)
	}
	if !p.take(0, now) {
		t.Error("no rate is no limit")
	}
}
