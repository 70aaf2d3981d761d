package coapin

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

func secureAddr(t testing.TB, s *Source) netip.AddrPort {
	t.Helper()
	_, secure := s.Addrs(t.Context())
	return secure.(*net.UDPAddr).AddrPort()
}

// shake does a handshake over a socket of its own, or over the one that is given.
func shake(t testing.TB, at netip.AddrPort, from net.PacketConn, identity, key string, more ...dtls.ClientOption) (*client, error) {
	t.Helper()
	if from == nil {
		from = socketFor(t)
	}
	conn := begin(t, at, from, identity, key, more...)
	ctx, cancel := context.WithTimeout(t.Context(), ingesttest.Patience)
	defer cancel()
	return &client{TB: t, conn: conn, id: 100}, conn.HandshakeContext(ctx)
}

// begin makes a client that has not said anything yet.
func begin(t testing.TB, at netip.AddrPort, from net.PacketConn, identity, key string, more ...dtls.ClientOption) *dtls.Conn {
	t.Helper()
	options := append([]dtls.ClientOption{
		dtls.WithPSK(func([]byte) ([]byte, error) { return []byte(key), nil }),
		dtls.WithPSKIdentityHint([]byte(identity)),
		dtls.WithCipherSuites(dtls.TLS_PSK_WITH_AES_128_CCM_8),
		dtls.WithLoggerFactory(silence{}),
	}, more...)
	conn, err := dtls.ClientWithOptions(from, net.UDPAddrFromAddrPort(at), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func socketFor(t testing.TB) net.PacketConn {
	t.Helper()
	from, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { from.Close() })
	return from
}

func dialDTLS(t testing.TB, at netip.AddrPort) *client {
	t.Helper()
	c, err := shake(t, at, nil, testIdentity, testKey)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDoorDTLS(t *testing.T) {
	ingesttest.Run(t, ingesttest.Door{
		New: func(t *testing.T) ingest.Source {
			return newSource(t, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
		},
		Speak: func(t *testing.T, s ingest.Source) ingesttest.Peer {
			at := secureAddr(t, s.(*Source))
			return secureDevice{device{dialDTLS(t, at), confirmable}, dial(t, at)}
		},
	})
}

// secureDevice sends garbage around its session, and over it.
type secureDevice struct {
	device
	raw *client
}

func (d secureDevice) Garbage(b []byte) {
	d.raw.sendBytes(b)
	if len(b) > recordHeader { // what looks like a handshake is looked at
		hello := bytes.Clone(b)
		copy(hello, []byte{contentHandshake, 0xfe, 0xfd, 0, 0})
		hello[recordHeader] = clientHello
		d.raw.sendBytes(hello)
	}
	if len(b) > 0 {
		d.sendBytes(b)
	}
}

func TestTheIdentityIsTheUser(t *testing.T) {
	custody := instant()
	s := both(t, custody)
	c := dialDTLS(t, secureAddr(t, s))
	c.expect(c.request(confirmable, post, "mine").carrying(`{"temp":1}`), changed)
	plain := dial(t, plainAddr(t, s))
	plain.expect(plain.request(confirmable, post, "mine").carrying(`{"temp":1}`), changed)
	got := custody.Taken(t, 2)
	if got[0].Device != testIdentity || got[1].Device != "mine" {
		t.Errorf("got %+v", got)
	}
}

func TestNobodyGetsInWithoutTheKey(t *testing.T) {
	told := &lines{}
	s := newSource(t, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, HandshakeTimeout: 300 * time.Millisecond})
	s.log = slog.New(slog.NewTextHandler(told, nil))
	runSource(t, ingest.NewIntake(instant(), nil, time.Now), s)
	for _, who := range [][2]string{{testIdentity, "another-key-of16"}, {"nobody", testKey}} {
		before := s.Stats()
		// On a machine that is busy, the time is over before anybody has said who he is.
		for tries := 1; s.Stats().BadLogins == before.BadLogins; tries++ {
			was := ended(s.Stats())
			ctx, cancel := context.WithCancel(t.Context())
			conn := begin(t, secureAddr(t, s), socketFor(t), who[0], who[1])
			shaken := make(chan error, 1)
			go func() { shaken <- conn.HandshakeContext(ctx) }()
			eventually(t, func() bool { return ended(s.Stats()) > was })
			cancel()
			if err := <-shaken; err == nil {
				t.Errorf("%q got in", who)
			}
			conn.Close()
			if tries == 50 {
				t.Fatalf("%q: %+v", who, s.Stats())
			}
		}
	}
	if n := s.Stats().Sessions; n != 0 {
		t.Errorf("%d sessions", n)
	}
	if text := told.String(); strings.Count(text, "refuses a device") != 1 || !strings.Contains(text, "identity="+testIdentity) {
		t.Errorf("told\n%s", text)
	}
}

// ended is how many handshakes came to nothing.
func ended(s Stats) uint64 { return s.BadLogins + s.Abandoned }

// lines is a log to look at.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	late := time.After(ingesttest.Patience)
	for ticks := time.NewTicker(time.Millisecond); !ok(); {
		select {
		case <-ticks.C:
		case <-late:
			t.Fatal("it does not come to that")
		}
	}
}

// A device that has been restarted knows nothing of its session, and has the
// same port.
func TestARestartedDeviceBeginsAnew(t *testing.T) {
	custody := instant()
	s := start(t, custody, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	at := secureAddr(t, s)
	address := porttest.For(t)
	for life := range 3 {
		from, err := net.ListenPacket("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		// Its end is not told: that would need a working radio.
		c, err := shake(t, at, mute{from}, testIdentity, testKey)
		if err != nil {
			t.Fatalf("life %d: %v", life, err)
		}
		c.expect(c.request(confirmable, post, "d").carrying(fmt.Sprint(life)), changed)
		eventually(t, func() bool { return s.Stats().Sessions == 1 })
		from.Close()
		c.conn.Close()
	}
	if n := len(custody.Taken(t, 3)); n != 3 {
		t.Errorf("%d readings", n)
	}
}

// mute is a socket over which no alert is sent.
type mute struct{ net.PacketConn }

func (m mute) WriteTo(b []byte, to net.Addr) (int, error) {
	const alert = 21
	if b[0] == alert {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}

// A ClientHello with somebody else's address ends nothing.
func TestAForgedHelloEndsNoSession(t *testing.T) {
	s, from, c := shakeInTime(t, 200*time.Millisecond)
	hello := helloOf(t)
	for range 3 {
		if _, err := from.WriteTo(hello, net.UDPAddrFromAddrPort(secureAddr(t, s))); err != nil {
			t.Fatal(err)
		}
		c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	}
	eventually(t, func() bool { return s.Stats().Abandoned >= 1 })
	c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	if n := s.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// shakeInTime returns a session, its client's socket, and a server that soon gives up
// handshakes which do not go on. Soon is later on a machine that is busy: the client's
// own must have come to its end.
func shakeInTime(t *testing.T, soon time.Duration) (*Source, net.PacketConn, *client) {
	t.Helper()
	for ; ; soon *= 4 {
		s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys, HandshakeTimeout: soon})
		from := socketFor(t)
		conn := begin(t, secureAddr(t, s), from, testIdentity, testKey)
		ctx, cancel := context.WithTimeout(t.Context(), 2*soon)
		err := conn.HandshakeContext(ctx)
		cancel()
		c := &client{TB: t, conn: conn, id: 100}
		if err == nil { // for the client: the server may have given up
			c.send(c.request(confirmable, post, "d").carrying("1"))
			_, err = c.receiveWithin(2 * soon)
		}
		if err == nil {
			return s, from, c
		}
		if soon > ingesttest.Patience {
			t.Fatal(err)
		}
	}
}

// helloOf returns the first datagram of a real client.
func helloOf(t *testing.T) []byte {
	t.Helper()
	sink := socketFor(t)
	conn := begin(t, sink.LocalAddr().(*net.UDPAddr).AddrPort(), socketFor(t), testIdentity, testKey)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = conn.HandshakeContext(ctx)
	}()
	b := make([]byte, 2000)
	n, _, err := sink.ReadFrom(b)
	cancel()
	<-ended
	conn.Close()
	if err != nil || !isHello(b[:n]) {
		t.Fatalf("%v, %x", err, b[:n])
	}
	return b[:n]
}

func TestCipherSuites(t *testing.T) {
	s := start(t, instant(), Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	for _, suite := range suites {
		c, err := shake(t, secureAddr(t, s), nil, testIdentity, testKey, dtls.WithCipherSuites(suite))
		if err != nil {
			t.Errorf("%v: %v", suite, err)
			continue
		}
		c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
	}
}

func TestABadNetworkUnderDTLS(t *testing.T) {
	custody := ingesttest.NewCustody()
	defer committing(custody)()
	s := start(t, custody, Config{ListenDTLS: "127.0.0.1:0", Key: testKeys})
	bad := newBadNetwork(t, secureAddr(t, s), 1, 10)
	c, err := shake(t, bad.addr(), nil, testIdentity, testKey, dtls.WithFlightInterval(retry))
	if err != nil {
		t.Fatal(err)
	}
	const messages = 30
	c.tell(0, messages)
	times := map[string]int{}
	for _, r := range custody.Stored() {
		times[r.Value.Text()]++
	}
	for i := range messages {
		if n := times[said(0, i)]; n != 1 {
			t.Errorf("message %d is stored %d times", i, n)
		}
	}
}
