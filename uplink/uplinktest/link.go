package uplinktest

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"
)

// link is a TCP proxy in front of a peer, and the place where cables are cut.
// A fault is for the connections that exist and for those that come; heal ends
// it for those that come.
type link struct {
	listener net.Listener
	peer     string
	tasks    sync.WaitGroup

	stopped chan struct{}
	front   *tls.Config // what the near side speaks; nil for what the peer speaks

	mu     sync.Mutex
	quota  int64 // bytes that still pass upstream before the cut; < 0: no end
	rate   int64 // bytes/s in each direction; 0: as fast as it goes
	delay  time.Duration
	mute   chan struct{}
	conns  map[net.Conn]struct{}
	calls  int   // connections that were made
	bytes  int64 // that have passed upstream
	closed bool
}

// newLink starts a link to the peer. It stops with the test.
func newLink(t *testing.T, peer string) *link {
	t.Helper()
	return newFront(t, peer, nil)
}

// newFront starts a link on which the near side speaks TLS, and the peer knows
// nothing of it.
func newFront(t *testing.T, peer string, front *tls.Config) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{
		listener: l, peer: peer, front: front, quota: -1,
		stopped: make(chan struct{}), mute: make(chan struct{}), conns: map[net.Conn]struct{}{},
	}
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

// slow lets each direction of each connection pass that many bytes/s, and delays
// what it passes.
func (k *link) slow(rate int64, delay time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.rate, k.delay = rate, delay
}

// dialled is how many connections have been made.
func (k *link) dialled() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls
}

// passed is how many bytes have gone towards the peer.
func (k *link) passed() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bytes
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
	close(k.stopped)
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
		if k.front != nil {
			near = tls.Server(near, k.front)
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
	k.calls++
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
		if through < 0 || !k.linger(n) {
			return
		}
		if _, werr := dst.Write(buf[:through]); werr != nil || err != nil {
			return
		}
	}
}

// linger takes the time that n bytes need, and reports whether the link has not
// been stopped meanwhile.
func (k *link) linger(n int) bool {
	k.mu.Lock()
	wait := k.delay
	if k.rate > 0 {
		wait += time.Duration(n) * time.Second / time.Duration(k.rate)
	}
	k.mu.Unlock()
	if wait == 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.stopped:
		return false
	}
}

// spend takes n bytes from the quota, or returns -1 when it is used up.
func (k *link) spend(n int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.quota >= 0 {
		if int64(n) > k.quota {
			return -1
		}
		k.quota -= int64(n)
	}
	k.bytes += int64(n)
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
