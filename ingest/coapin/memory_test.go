package coapin

import (
	"bytes"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
)

// crowd returns a server, and a way to send to it from as many addresses as there
// are numbers. Their answers may be large: they are of this machine.
func crowd(t *testing.T, cfg Config) (*server, *recorder, func(n int, m message)) {
	v := newServer(newSource(t, cfg), ingest.NewIntake(instant(), nil, time.Now))
	sent := new(recorder)
	return v, sent, func(n int, m message) {
		from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)}), 1)
		v.take(t.Context(), m.appendTo(nil), origin{at: destination{addr: from}, out: sent})
		v.settle()
	}
}

// What is remembered for the case that it comes again takes what the reference
// page says, however long the answers are and whoever asks.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	const most = 7 << 20
	for name, ask := range map[string]message{
		"list":  {code: get, options: []option{{optUriPath, []byte(".well-known")}, {optUriPath, []byte("core")}}},
		"words": {code: post, options: []option{{optUriPath, []byte("picky")}, {optUriPath, []byte("x")}}, payload: []byte("[")},
	} {
		t.Run(name, func(t *testing.T) {
			v, sent, say := crowd(t, Config{})
			for i := range maxListed {
				v.targets.listed[fmt.Sprint("a-long-name-of-a-device/", i)] = true
			}
			before := heap()
			for i := range 2 * v.cfg.MaxExchanges {
				ask.id = uint16(i)
				say(i, ask)
			}
			if len(sent.last) < 60 {
				t.Fatalf("the answer has %d bytes only", len(sent.last))
			}
			grown := heap() - before
			if t.Logf("%d exchanges take %d bytes", v.exchanges.length, grown); grown > most {
				t.Error("too many")
			}
			runtime.KeepAlive(v)
		})
	}
}

// A request that comes again has the answer that it had, though words for people
// may be left out, and is not done again; a question is answered again.
func TestRepeatsAreAnsweredWithoutLongWords(t *testing.T) {
	_, sent, say := crowd(t, Config{})
	refused := message{code: post, id: 7, token: []byte("12345678"), options: []option{{optUriPath, []byte("picky")}, {optUriPath, []byte("x")}}, payload: []byte("[")}
	say(1, refused)
	first := bytes.Clone(sent.last)
	say(1, refused)
	if at := bytes.IndexByte(first, marker); at < 0 || !bytes.Equal(sent.last, first[:at]) {
		t.Errorf("%x, and then %x", first, sent.last)
	}
	list := message{code: get, id: 8, options: []option{{optUriPath, []byte(".well-known")}, {optUriPath, []byte("core")}}}
	say(1, list)
	first = bytes.Clone(sent.last)
	sent.last = nil
	say(1, list)
	if !bytes.Equal(sent.last, first) {
		t.Errorf("%x, and then %x", first, sent.last)
	}
}

// Bodies that never become whole take what the limit says, however small they
// are, however they grow and however long their paths are.
func TestUnfinishedBodiesAreBounded(t *testing.T) {
	long := option{optUriPath, bytes.Repeat([]byte("p"), 240)}
	for name, tt := range map[string]struct {
		path   []option
		blocks int
	}{
		"long paths": {[]option{long, long, {optUriQuery, long.value}, {optUriQuery, long.value}}, 1},
		"growing":    {[]option{{optUriPath, []byte("p")}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			v, _, say := crowd(t, Config{})
			before := heap()
			for i := range 4000 {
				for n := range tt.blocks {
					b := block{number: uint32(n), more: true}
					if tt.blocks > 1 {
						b.szx = 2
					}
					say(1, message{code: put, id: uint16(n), options: append(tt.path[:len(tt.path):len(tt.path)],
						option{optBlock1, appendUint(nil, b.value())}, option{optRequestTag, []byte(fmt.Sprint(i))}), payload: make([]byte, b.size())})
				}
				if v.bodies.used > v.cfg.MaxBodies {
					t.Fatalf("%d bytes are counted", v.bodies.used)
				}
			}
			known := len(v.bodies.known)
			v.exchanges = newExchanges(1)
			if grown := heap() - before; known < 50 || grown > int64(v.cfg.MaxBodies)*5/4 {
				t.Errorf("%d bodies take %d bytes, at most %d", known, grown, v.cfg.MaxBodies)
			}
			runtime.KeepAlive(v)
		})
	}
}

// The largest body that is allowed comes in blocks of any size, and two of them
// at the same time.
func TestTheLargestBodyFits(t *testing.T) {
	for _, largest := range []int{64 << 10, 1 << 20} {
		v, sent, say := crowd(t, Config{MaxBody: largest})
		const szx = 2
		for n := range largest / 64 {
			b := block{number: uint32(n), more: n < largest/64-1, szx: szx}
			for _, path := range []string{"raw/a", "raw/b"} {
				id := uint16(2 * n)
				if path == "raw/b" {
					id++
				}
				say(1, message{code: put, id: id, options: []option{{optUriPath, []byte(path)}, {optBlock1, appendUint(nil, b.value())}}, payload: make([]byte, 64)})
				var got message
				if err := got.parse(sent.last); err != nil || got.code.class() != 2 {
					t.Fatalf("max_body %d: block %d of %s: %v %v", largest, n, path, got.code, err)
				}
			}
		}
		if v.bodies.used != 0 {
			t.Errorf("%d bytes are left", v.bodies.used)
		}
	}
}

// Paths that are made up one after the other are not all remembered.
func TestPathsThatAreRememberedAreBounded(t *testing.T) {
	v, _, say := crowd(t, Config{})
	for i := range maxTargets + 100 {
		say(1, message{code: post, id: uint16(i), options: []option{{optUriPath, fmt.Append(nil, "made-up-", i)}}, payload: []byte("1")})
	}
	if n := len(v.targets.known); n == 0 || n > maxTargets {
		t.Errorf("%d paths are remembered", n)
	}
	if n := len(v.targets.listed); n > maxListed {
		t.Errorf("%d paths are listed", n)
	}
}

// What is too old is forgotten although nothing comes in any more.
func TestSilenceEmptiesTheServer(t *testing.T) {
	v, _, say := crowd(t, Config{})
	say(1, message{code: post, id: 1, options: []option{{optUriPath, []byte("d")}}, payload: []byte("1")})
	say(2, message{code: put, id: 2, options: []option{{optUriPath, []byte("d")}, {optBlock1, []byte{8}}}, payload: make([]byte, 16)})
	v.expire(time.Now().Add(exchangeLifetime + time.Second))
	if v.exchanges.length != 0 || len(v.bodies.known) != 0 || len(v.endpoints.known) != 0 {
		t.Errorf("%d exchanges, %d bodies, %d endpoints", v.exchanges.length, len(v.bodies.known), len(v.endpoints.known))
	}
}
