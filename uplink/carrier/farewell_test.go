package carrier

import (
	"io"
	"net"
	"syscall"
	"testing"
)

// meddling is a socket at which something happens when it is touched for the last of some
// times.
type meddling struct {
	syscall.RawConn
	times  int
	meddle func()
}

// Control implements syscall.RawConn.
func (m *meddling) Control(f func(fd uintptr)) error {
	if m.times--; m.times == 0 {
		m.meddle()
	}
	return m.RawConn.Control(f)
}

// Run ends, and sees off what there is, while a connection is about to say goodbye: its
// socket must not stay behind, nor the link in use.
func TestNoFarewellComesBehindTheLast(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if far, err := listener.Accept(); err == nil {
			io.Copy(io.Discard, far)
			far.Close()
		}
	}()
	near, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l := open(t, Config{Name: "eth"})
	l.running = true
	c := l.join(newConn(l, near, nil))
	if c.meter.info() == nil {
		t.Skip("this kernel counts no bytes")
	}
	// Close looks, looks once more, sees that somebody looks after farewells, and then
	// keeps the socket.
	c.meter.raw = &meddling{RawConn: c.meter.raw, times: 3, meddle: func() {
		l.mu.Lock()
		l.running = false
		l.mu.Unlock()
		l.seeOff(true)
	}}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if len(l.farewells) > 0 || l.users > 0 || l.running {
		t.Errorf("%d sockets are left, %d uses of the link, running %t", len(l.farewells), l.users, l.running)
	}
}
