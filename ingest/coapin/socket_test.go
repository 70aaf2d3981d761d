package coapin

import (
	"context"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/ingesttest"
	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/reading"
)

// apart says that a test runs in a network of its own.
const apart = "COAPIN_TEST_APART"

// A gateway has several addresses, and answers come from the one that was asked:
// a client that is connected to it hears no other. This listens on all addresses,
// so it does that in a network where nobody else is.
func TestAnswersComeFromTheAddressThatWasAsked(t *testing.T) {
	if os.Getenv(apart) == "" {
		runApart(t)
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, everywhere := range []string{"0.0.0.0:0", "[::]:0"} {
		custody := instant()
		s := start(t, custody, Config{Listen: everywhere, ListenDTLS: everywhere, Key: testKeys})
		plain, secure := s.Addrs(t.Context())
		for _, host := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
			if host == "::1" && everywhere[0] != '[' {
				continue
			}
			at := func(a net.Addr) string { return net.JoinHostPort(host, portOf(a)) }
			c := dialTo(t, at(plain))
			c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
			conn := dialTo(t, at(secure)).conn
			c, err := shake(t, conn.RemoteAddr().(*net.UDPAddr).AddrPort(), connected{conn}, testIdentity, testKey)
			if err != nil {
				t.Fatalf("%s at %s: %v", everywhere, host, err)
			}
			c.expect(c.request(confirmable, post, "d").carrying("1"), changed)
		}
	}
}

func portOf(a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return port
}

func dialTo(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{TB: t, conn: conn, id: 100}
}

// connected is a net.PacketConn that hears only one peer.
type connected struct{ net.Conn }

func (c connected) ReadFrom(b []byte) (int, net.Addr, error) {
	n, err := c.Read(b)
	return n, c.RemoteAddr(), err
}

func (c connected) WriteTo(b []byte, _ net.Addr) (int, error) { return c.Write(b) }

// runApart runs the test again, in a network of its own.
func runApart(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("no ip: apt-get install iproute2")
	}
	cmd := rerun.Command("-test.run=^"+t.Name()+"$", "-test.count=1")
	cmd.Env = append(os.Environ(), apart+"=yes")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skipf("this system gives nobody a network of his own: %v", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// slow is a custody that takes its time before it takes anything.
type slow struct {
	*ingesttest.Custody
	open chan struct{}
}

func (s slow) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	<-s.open
	return s.Custody.Accept(ctx, rs, notes...)
}

// What the system had to drop, because nobody read it, is counted.
func TestDatagramsThatWereDroppedAreCounted(t *testing.T) {
	custody := slow{instant(), make(chan struct{})}
	opened := sync.OnceFunc(func() { close(custody.open) })
	s := start(t, custody, Config{MaxExchanges: 1 << 20})
	defer opened()
	c := dial(t, plainAddr(t, s))
	sent, before := uint64(0), uint64(0)
	send := func() {
		c.send(c.request(nonConfirmable, post, "d").with(optNoResponse, 2).carrying("1"))
		sent++
	}
	for range 20_000 {
		send()
	}
	opened()
	// The count comes with the next datagram that there is room for: while nothing
	// moves, one more is sent.
	eventually(t, func() bool {
		got := s.Stats()
		now := got.Requests + got.Overflowed
		if now < sent && now == before {
			send()
		}
		before = now
		return now == sent && got.Overflowed > 0
	})
}

func TestControlMessagesAreTakenApart(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 8), make([]byte, 16), {200, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0}} {
		if _, _, _, _, ok := nextControl(b); ok {
			t.Errorf("%x was taken", b)
		}
	}
	for _, address := range []string{"127.0.0.1:1", "[::1]:1"} {
		at, err := net.ResolveUDPAddr("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		b := appendSource(nil, at.AddrPort().Addr())
		level, _, data, rest, ok := nextControl(b)
		if !ok || len(rest) != 0 || level != syscall.IPPROTO_IP && level != syscall.IPPROTO_IPV6 || len(data) < 12 {
			t.Errorf("%s: %x", address, b)
		}
	}
}
