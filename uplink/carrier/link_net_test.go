package carrier

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/linkup"
)

// from connects over the link, sees that it is answered, and returns the address
// that it connected from.
func from(t *testing.T, l *Link) string {
	t.Helper()
	c := dial(t, l, portEcho)
	defer c.Close()
	if _, err := fmt.Fprint(c, "x"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c.LocalAddr().(*net.TCPAddr).IP.String()
}

func TestConnectionsLeaveByTheirInterface(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0) // the better route
	n.cable("w0", 1)
	w0, e0 := n.wire("w0"), n.wire("e0")
	if got := from(t, open(t, Config{Name: "any"})); got != "10.9.0.1" {
		t.Errorf("without an interface: from %s", got)
	}
	if n.wire("w0") != w0 || n.wire("e0") == e0 {
		t.Error("without an interface: not by the better route")
	}
	e0 = n.settled("e0").passed
	if got := from(t, open(t, Config{Name: "lte", Interface: "w0"})); got != "10.9.1.1" {
		t.Errorf("by w0: from %s", got)
	}
	if n.wire("e0") != e0 || n.wire("w0") == w0 {
		t.Error("by w0: not on its wire")
	}
	if got := from(t, open(t, Config{Name: "lte", Source: netip.MustParseAddr("10.9.1.1")})); got != "10.9.1.1" {
		t.Errorf("by address: from %s", got)
	}
}

func TestBindingNeedsNoCapability(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	n.cable("w0", 1)
	// The daemon has no capabilities. A thread without them makes the socket; it is
	// never unlocked, so it ends with its goroutine.
	bare := make(chan string)
	go func() {
		runtime.LockOSThread()
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			bare <- err.Error()
			return
		}
		c, err := open(t, Config{Name: "lte", Interface: "w0"}).socket(t.Context(), "tcp", hub+":"+portEcho, true)
		if err != nil {
			bare <- err.Error()
			return
		}
		c.Close()
		bare <- c.LocalAddr().(*net.TCPAddr).IP.String()
	}()
	if got := <-bare; got != "10.9.1.1" {
		t.Errorf("without capabilities: from %s", got)
	}

	// A kernel that does not let everybody bind to an interface.
	l := open(t, Config{Name: "lte", Interface: "w0"})
	var refused int
	l.connect = func(ctx context.Context, network, address string, bind bool) (net.Conn, error) {
		if bind {
			refused++
			return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("leave by w0: %w", unix.EPERM)}
		}
		return l.socket(ctx, network, address, false)
	}
	if got := from(t, l); got != "10.9.1.1" || refused != 1 {
		t.Errorf("not permitted: from %s, refused %d times", got, refused)
	}
}

func TestAnInterfaceThatCannotBeUsedIsNamed(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{Config{Name: "lte", Interface: "wwan0"}, "the link is closed: there is no interface wwan0"},
		{Config{Name: "lte", Source: netip.MustParseAddr("10.77.0.1")}, "the link is closed: no interface has the address 10.77.0.1"},
	} {
		_, err := open(t, c.cfg).Dial(t.Context(), "tcp", hub+":"+portEcho)
		if !errors.Is(err, ErrClosed) || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
	n.inside(n.peer, "ip", "link", "set", "p-e0", "down")
	l := open(t, Config{Name: "eth", Interface: "e0"})
	for range time.Tick(20 * time.Millisecond) { // the kernel takes a moment to notice
		if ok, _ := l.reach.up(); !ok {
			break
		}
	}
	_, err := l.Dial(t.Context(), "tcp", hub+":"+portEcho)
	if !errors.Is(err, ErrClosed) || err.Error() != "the link is closed: e0 has no carrier" {
		t.Errorf("%v", err)
	}
}

// TestHalfOpenConnectionsAreFound lets all packets to and from the peer vanish
// without a word.
func TestHalfOpenConnectionsAreFound(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	const dead, keepalive = 3 * time.Second, 2 * time.Second
	l := open(t, Config{Name: "lte", Interface: "e0", DeadAfter: dead, Keepalive: keepalive})
	busy, idle := dial(t, l, portDiscard), dial(t, l, portEcho)
	defer busy.Close()
	defer idle.Close()

	// An idle connection outlives a silence as long as its probes are answered.
	for _, time := range []time.Time{time.Now().Add(dead + 500*time.Millisecond), time.Now().Add(2 * (dead + keepalive))} {
		idle.SetReadDeadline(time)
		if _, err := idle.Read(make([]byte, 1)); !isTimeout(err) || isOfNetwork(err) {
			t.Fatalf("an idle connection: %v", err)
		}
		idle.(*conn).rest() // as Run does
	}
	if !idle.(*conn).quiet {
		t.Error("the idle connection is not left to its keepalive")
	}
	n.blackhole(0, true)
	// Without a bound, it would be a quarter of an hour and two and a half minutes; that
	// it is ours to the second, TestKeepalivesKeepToTheBound asks the kernel.
	const slack = 20 * time.Second
	begun := time.Now()
	var all sync.WaitGroup
	all.Go(func() {
		var err error
		for err == nil {
			_, err = busy.Write(make([]byte, 1<<10))
		}
		if took := time.Since(begun); !errors.Is(err, unix.ETIMEDOUT) || took > dead+slack {
			t.Errorf("sending: %v after %v", err, took)
		}
	})
	all.Go(func() {
		idle.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := idle.Read(make([]byte, 1))
		if took := time.Since(begun); !errors.Is(err, unix.ETIMEDOUT) && !errors.Is(err, unix.EHOSTUNREACH) || took > keepalive+dead+slack {
			t.Errorf("idle: %v after %v", err, took)
		} else {
			t.Logf("idle: found after %v, bound %v", took, keepalive+dead)
		}
	})
	all.Wait()
}

// TestOneLostProbeDoesNotEndAnIdleConnection: the silence is longer than one
// keepalive, and shorter than all of them, by far: a machine may need seconds to end it.
func TestOneLostProbeDoesNotEndAnIdleConnection(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	l := open(t, Config{Name: "lte", Interface: "e0", DeadAfter: 20 * time.Second, Keepalive: 5 * time.Second})
	c := dial(t, l, portEcho).(*conn)
	defer c.Close()
	c.used = c.used.Add(-time.Minute) // idle for long
	c.rest()
	n.blackhole(0, true)
	over := make(chan struct{})
	time.AfterFunc(6500*time.Millisecond, func() {
		defer close(over)
		n.blackhole(0, false)
	})
	c.SetReadDeadline(time.Now().Add(12 * time.Second)) // the next probe is due after ten
	if _, err := c.Read(make([]byte, 1)); !isTimeout(err) || isOfNetwork(err) {
		t.Errorf("%v", err)
	}
	<-over
}

// TestAPulledCable runs a Path as the daemon does: the kernel's events move it,
// and bring it back.
func TestAPulledCable(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	n.cable("w0", 1)
	moved := make(chan struct{}, 9)
	eth, lte := open(t, Config{Name: "eth", Interface: "e0", DialTimeout: 8 * time.Second}), open(t, Config{Name: "lte", Interface: "w0"})
	p := NewPath(PathConfig{HoldDown: 2 * time.Second, Grace: time.Second, Moved: func() { moved <- struct{}{} }}, quietLog(), eth, lte)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	listening := make(chan struct{})
	all.Go(func() { p.Run(ctx) })
	all.Go(func() { eth.Run(ctx) })
	all.Go(func() { lte.Run(ctx) })
	all.Go(func() {
		linkup.Watch(ctx, func(bool) {
			eth.Look()
			lte.Look()
		}, listening)
	})
	<-listening
	connect := func(want string) net.Conn {
		t.Helper()
		c, err := p.Dial(ctx, "tcp", hub+":"+portEcho)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.(*conn).link.Name(); got != want {
			t.Errorf("over %s, want %s", got, want)
		}
		return c
	}
	old := connect("eth")
	n.inside(n.peer, "ip", "link", "set", "p-e0", "down")
	<-moved
	if _, err := old.Read(make([]byte, 1)); err == nil { // closed by the Path
		t.Error("the old connection lives")
	}
	old.Close()
	newer := connect("lte")
	n.inside(n.peer, "ip", "link", "set", "p-e0", "up")
	<-moved
	if _, err := newer.Read(make([]byte, 1)); err == nil {
		t.Error("the connection over the worse link lives")
	}
	newer.Close()
	connect("eth").Close()

	n.blackhole(0, true) // the interface is up, and nothing comes back
	connect("lte").Close()
	n.blackhole(0, false)
}

// TestTheMeterCountsWhatIsLost sends through a router whose queue drops a good
// part, so that much is sent twice.
func TestTheMeterCountsWhatIsLost(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	router := n.spawn(roleBystander)
	n.lay("e0", 0, "r0", router, 0)
	n.lay("r1", router, "s0", n.peer, 5)
	n.run("ip", "route", "add", hub, "via", "10.9.0.2", "dev", "e0")
	n.inside(router, "ip", "route", "add", hub, "via", "10.9.5.2")
	n.inside(router, "sysctl", "-q", "-w", "net.ipv4.ip_forward=1")
	n.inside(n.peer, "ip", "route", "add", "10.9.0.0/24", "via", "10.9.5.1")
	n.inside(router, "tc", "qdisc", "add", "dev", "r1", "root", "tbf", "rate", "1mbit", "burst", "3k", "limit", "6k")
	n.run("sysctl", "-q", "-w", "net.ipv4.tcp_congestion_control=reno") // fills every queue
	l := open(t, Config{Name: "lte", Interface: "e0"})
	before := n.settled("e0")
	const size = 400 << 10
	c := dial(t, l, portEcho)
	go c.Write(make([]byte, size))
	if _, err := io.CopyN(io.Discard, c, size); err != nil {
		t.Fatal(err)
	}
	c.Close()
	after := n.settled("e0")
	near(t, "through a full queue", l.sum(), after.minus(before))
	if wire, least := after.minus(before).sent, int64(size)*1500/1448; wire < least*102/100 {
		t.Errorf("%d bytes on the wire for %d: nothing was lost, so nothing is tested", wire, size)
	}
}

func TestTheMeterCountsHandshakesAndIPv6(t *testing.T) {
	n := apart(t)
	if n == nil {
		return
	}
	n.cable("e0", 0)
	for _, end := range [][]string{{"e0", "fd00::1", "fd00::2", "02:00:00:00:00:02"}, {"p-e0", "fd00::2", "fd00::1", "02:00:00:00:00:01"}} {
		args := [][]string{
			{"address", "add", end[1] + "/64", "dev", end[0], "nodad"},
			{"neighbor", "replace", end[2], "lladdr", end[3], "dev", end[0], "nud", "permanent"},
		}
		for _, a := range args {
			if end[0] == "e0" {
				n.run("ip", a...)
			} else {
				n.inside(n.peer, "ip", a...)
			}
		}
	}
	t.Run("IPv6", func(t *testing.T) {
		l := open(t, Config{Name: "eth", Interface: "e0"})
		before := n.settled("e0")
		for range 20 {
			c, err := l.Dial(t.Context(), "tcp", "[fd00::2]:"+portEcho)
			if err != nil {
				t.Fatal(err)
			}
			c.Write(make([]byte, 5000))
			io.ReadFull(c, make([]byte, 5000))
			c.Close()
		}
		near(t, "over IPv6", l.sum(), n.settled("e0").minus(before))
	})
	t.Run("TLS", func(t *testing.T) {
		l := open(t, Config{Name: "eth", Interface: "e0"})
		before := n.settled("e0")
		for range 10 {
			c := tls.Client(dial(t, l, portSecure), &tls.Config{InsecureSkipVerify: true})
			if _, err := c.Write(make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 2000)); err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
		near(t, "with TLS", l.sum(), n.settled("e0").minus(before))
	})
}
