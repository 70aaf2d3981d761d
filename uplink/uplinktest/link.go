package uplinktest

import (
	"net"
	"sync"
	"testing"
)

// link is a TCP proxy in front of a peer, and the place where cables are cut.
// A fault is for the connections that exist and for those that come; heal ends
// it for those that come.
type link struct {
	listener net.Listener
	peer     string
	tasks    sync.WaitGroup

	mu     sync.Mutex
	quota  int64 // bytes that still pass upstream before the cut; < 0: no end
	mute   chan struct{}
	conns  map[net.Conn]struct{}
	closed bool
}

// newLink starts a link to the peer. It stops with the test.
func newLink(t *testing.T, peer string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{listener: l, peer: peer, quota: -1, mute: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	k.tasks.Go(k.accept)
	t.Cleanup(k.stop)
	return k
}

func (k *link) address() string { return k.listener.Addr().String() }

// cutAfter breaks the connection after n more bytes towards the peer.
func (k *link) cutAfter(n int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.quota = n
}

// silence swallows what the peer answers from now on.
func (k *link) silence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.mute)
}

// heal lets connections that are made from now on pass everything.
func (k *link) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.quota = -1
	k.mute = make(chan struct{})
}

func (k *link) stop() {
	k.mu.Lock()
	k.closed = true
	k.listener.Close()
	for c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.tasks.Wait()
}

func (k *link) accept() {
	for {
		near, err := k.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", k.peer)
		if err != nil {
			near.Close()
			continue
		}
		mute, ok := k.join(near, far)
		if !ok {
			return
		}
		k.tasks.Go(func() { k.carry(far, near, k.spend) })
		k.tasks.Go(func() { k.carry(near, far, func(n int) int { return audible(mute, n) }) })
	}
}

// join registers a pair of connections, and closes it if the link has stopped.
func (k *link) join(near, far net.Conn) (mute chan struct{}, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		near.Close()
		far.Close()
		return nil, false
	}
	k.conns[near], k.conns[far] = struct{}{}, struct{}{}
	return k.mute, true
}

// carry copies from src to dst what pass lets through; a negative answer of
// pass cuts the connection.
func (k *link) carry(dst, src net.Conn, pass func(n int) int) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		through := pass(n)
		if through < 0 {
			return
		}
		if _, werr := dst.Write(buf[:through]); werr != nil || err != nil {
			return
		}
	}
}

// spend takes n bytes from the quota, or returns -1 when it is used up.
func (k *link) spend(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quota < 0 {
		return n
	}
	if int64(n) > k.quota {
		return -1
	}
	k.quota -= int64(n)
	return n
}

func audible(mute chan struct{}, n int) int {
	select {
	case <-mute:
		return 0
	default:
		return n
	}
}
