package coapin

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// record returns a record of DTLS 1.2.
func record(kind byte, epoch uint16, sequence uint32, content []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, 0xfe, 0xfd}, epoch)
	b = binary.BigEndian.AppendUint32(append(b, 0, 0), sequence)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(content))), content...)
}

// fragment returns a part of a handshake message of a kind, which is the seq-th
// and has 16 MB.
func fragment(kind byte, seq uint16, offset uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint16([]byte{kind, 0xff, 0xff, 0xff}, seq)
	b = append(b, byte(offset>>16), byte(offset>>8), byte(offset), 0, byte(len(data)>>8), byte(len(data)))
	return append(b, data...)
}

// Whoever can write a peer's address on a datagram ends no session of the peer:
// not with data, alerts or rubbish that is not encrypted, and not behind a record
// that looks as if it were.
func TestAForgedRecordEndsNoSession(t *testing.T) {
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	from := socketFor(t)
	c, err := shake(t, secureAddr(t, s), from, testIdentity, testKey)
	if err != nil {
		t.Fatal(err)
	}
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	secret := record(contentHandshake+1, 1, 9999, make([]byte, 40))
	for i, forged := range [][]byte{
		record(23, 0, 1000, []byte("data")),
		record(21, 0, 1001, []byte{2, 0}),
		record(20, 0, 1002, []byte{9, 9, 9}),
		record(22, 0, 1003, []byte("x")),
		record(99, 0, 1004, []byte("nobody knows this")),
		record(25, 1, 1005, make([]byte, 40)),
		append(secret, record(23, 0, 1006, []byte("data"))...),
		append(secret, 23, 0xfe, 0xfd, 0, 0),
	} {
		if _, err := from.WriteTo(forged, net.UDPAddrFromAddrPort(secureAddr(t, s))); err != nil {
			t.Fatal(err)
		}
		c.send(c.request(confirmable, post, "d").carrying("1"))
		if got, err := c.receiveWithin(ingesttest.Patience); err != nil || got.code != changed {
			t.Fatalf("after forgery %d: %v, %v", i, got.code, err)
		}
	}
	if n := s.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// heap is what is in use after everything that can be freed is.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Parts of a handshake that never becomes whole are not collected for a session
// that stands: whoever knows its address could fill the memory with them.
func TestForgedFragmentsTakeNoMemory(t *testing.T) {
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	from := socketFor(t)
	c, err := shake(t, secureAddr(t, s), from, testIdentity, testKey)
	if err != nil {
		t.Fatal(err)
	}
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	const size, count = 1200, 600
	before := heap()
	for i := range uint32(count) {
		forged := record(contentHandshake, 0, 1000+i, fragment(11, 50, 1+i*size, make([]byte, size)))
		if _, err := from.WriteTo(forged, net.UDPAddrFromAddrPort(secureAddr(t, s))); err != nil {
			t.Fatal(err)
		}
		if i%8 == 7 { // they are not to be lost on the way
			c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
		}
	}
	if grown := heap() - before; grown > size*count/4 {
		t.Errorf("%d bytes of fragments take %d bytes", size*count, grown)
	}
}

// A handshake that does not come to its end is not given more bytes than one
// needs, however long it lasts.
func TestAHandshakeIsGivenFewBytes(t *testing.T) {
	s := start(t, instant(), Config{})
	g := newGate(t.Context(), t.Context(), newServer(s, ingest.NewIntake(instant(), nil, time.Now)), nil)
	ss := newSession(g, destination{addr: plainAddr(t, s)})
	given := 0
	for i := range uint32(1000) {
		ss.put(record(contentHandshake, 0, i, fragment(clientHello, 0, i*1000, make([]byte, 1000))))
		select {
		case b := <-ss.in:
			given += len(b)
		default:
		}
	}
	if given == 0 || given > maxShake {
		t.Errorf("%d bytes were given", given)
	}
}

// What waits for a session that does not keep up is bounded in bytes.
func TestWhatWaitsForASessionIsBounded(t *testing.T) {
	s := start(t, instant(), Config{})
	g := newGate(t.Context(), t.Context(), newServer(s, ingest.NewIntake(instant(), nil, time.Now)), nil)
	ss := newSession(g, destination{addr: plainAddr(t, s)})
	ss.place = g.standing.PushFront(ss)
	for range 4 * maxQueued {
		ss.put(record(23, 1, 7, make([]byte, 60_000)))
		ss.put(record(23, 1, 7, make([]byte, maxRecord)))
	}
	waiting := 0
	for len(ss.in) > 0 {
		waiting += len(<-ss.in)
	}
	if waiting < maxQueued*maxRecord || waiting > maxQueued*2*maxRecord {
		t.Errorf("%d bytes wait", waiting)
	}
}

// Peers who have not shown that they get what is sent to their addresses do not
// keep others out, however often they begin.
func TestForgedHellosKeepNobodyOut(t *testing.T) {
	const most = 4
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, MaxHandshakes: most, HandshakeTimeout: time.Minute})
	at, hello := secureAddr(t, s), helloOf(t)
	for range most {
		forger := dial(t, at)
		for range 3 {
			forger.sendBytes(hello)
		}
	}
	began := time.Now()
	dialDTLS(t, at)
	t.Log(fmt.Sprint("let in after ", time.Since(began)))
}

// deaf is a socket that loses the first datagram that begins with a record of
// that type.
type deaf struct {
	net.PacketConn
	to   byte
	lost *bool
}

func (d deaf) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := d.PacketConn.ReadFrom(b)
		if err != nil || *d.lost || b[0] != d.to {
			return n, from, err
		}
		*d.lost = true
	}
}

// A session stands for the gateway when it has sent the end of the handshake. A
// peer to whom that did not come through asks for it again.
func TestTheEndOfAHandshakeMayBeLost(t *testing.T) {
	const changeCipherSpec = 20
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	lost := false
	c, err := shake(t, secureAddr(t, s), deaf{socketFor(t), changeCipherSpec, &lost}, testIdentity, testKey)
	if err != nil || !lost {
		t.Fatalf("%v, lost: %v", err, lost)
	}
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
}

// A session that stands takes what is encrypted, and few bytes of handshake.
func TestOnlyWhatIsEncryptedIsTaken(t *testing.T) {
	data, shake := record(23, 1, 1, []byte("data")), record(contentHandshake, 1, 2, make([]byte, 60))
	left := 2 * len(shake)
	take := func(records ...[]byte) string {
		return string(encrypted(bytes.Join(records, nil), &left))
	}
	for _, tt := range []struct{ got, want string }{
		{take(data), string(data)},
		{take(record(23, 0, 1, nil), data, record(21, 0, 1, []byte{2, 0})), string(data)},
		{take(record(contentWithID, 1, 1, make([]byte, 9)), data), string(data)},
		{take(shake, data, shake, shake), string(shake) + string(data) + string(shake)},
		{take(shake), ""},
		{take(data, data[:recordHeader+1]), string(data)},
		{take(data[:recordHeader-1]), ""},
		{take(), ""},
	} {
		if tt.got != tt.want {
			t.Errorf("%x is taken, want %x", tt.got, tt.want)
		}
	}
}

func FuzzEncrypted(f *testing.F) {
	f.Add(append(record(23, 1, 1, []byte("data")), record(contentHandshake, 0, 1, []byte("x"))...), 100)
	f.Fuzz(func(t *testing.T, b []byte, left int) {
		before := left
		got := encrypted(b, &left)
		if len(got) > len(b) || left > before || left < min(before, 0) {
			t.Fatalf("%d of %d bytes, %d of %d are left", len(got), len(b), left, before)
		}
		if again := encrypted(got, &before); !bytes.Equal(again, got) {
			t.Fatalf("%x, and then %x", got, again)
		}
	})
}

// What a peer says right after its handshake, before the gateway has noted the
// end of that, is heard, all of it.
func TestWhatComesRightAfterTheHandshakeIsHeard(t *testing.T) {
	s := start(t, instant(), Config{})
	g := newGate(t.Context(), t.Context(), newServer(s, ingest.NewIntake(instant(), nil, time.Now)), nil)
	ss := newSession(g, destination{addr: plainAddr(t, s)})
	for i := range uint32(5) {
		ss.put(record(contentData, 1, i, []byte("data")))
	}
	if n := len(ss.in); n != 0 {
		t.Fatalf("%d datagrams are given to a handshake", n)
	}
	g.stands(ss)
	ss.put(record(contentData, 1, 5, []byte("data")))
	for i := range uint32(6) {
		if got, want := <-ss.in, record(contentData, 1, i, []byte("data")); !bytes.Equal(got, want) {
			t.Errorf("%x is %d-th, want %x", got, i, want)
		}
	}
}
