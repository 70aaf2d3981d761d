package firmwaresim

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Link is a TCP proxy that stands for a bad line between two machines. The side
// that connects to it is the near side; what it sends goes up.
//
// The controls may be called at any time, also from several goroutines, and
// apply to connections that are open already.
type Link struct {
	to       string
	listener net.Listener

	up, down direction

	mu       sync.Mutex
	circuits map[*circuit]struct{}
	state    linkState
	// changed is closed, and replaced, whenever state changes.
	changed chan struct{}
}

// linkState is what the controls have set.
type linkState struct {
	cut       bool
	blackhole bool
	delay     time.Duration
	bandwidth int64 // bytes a second and direction; 0: no limit
	cutAfter  int64 // bytes up from now on; 0: never
}

// direction is what all connections share one way.
type direction struct {
	bytes    atomic.Int64 // delivered
	segments int64        // of connections that have ended; guarded by the Link's mu
	pacer    pacer
}

// OpenLink listens on an address and returns a link to another one. Run serves
// it.
func OpenLink(listen, to string) (*Link, error) {
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, err
	}
	return &Link{
		to:       to,
		listener: listener,
		circuits: make(map[*circuit]struct{}),
		changed:  make(chan struct{}),
	}, nil
}

// Addr returns host:port of the near side.
func (l *Link) Addr() string { return l.listener.Addr().String() }

// Bytes returns how many bytes were delivered each way.
func (l *Link) Bytes() (up, down int64) { return l.up.bytes.Load(), l.down.bytes.Load() }

// Cut resets every connection (RST) and every new one as soon as it arrives,
// until Restore. What was on the way is lost.
func (l *Link) Cut() {
	l.set(func(s *linkState) { s.cut = true })
	l.closeAll(true)
}

// Hangup is Cut with manners: connections are closed (FIN) instead of reset.
func (l *Link) Hangup() {
	l.set(func(s *linkState) { s.cut = true })
	l.closeAll(false)
}

// CutAfter cuts as soon as so many further bytes have gone up: in the middle of
// a request.
func (l *Link) CutAfter(bytes int64) {
	l.set(func(s *linkState) { s.cutAfter = max(bytes, 1) })
}

// Blackhole accepts connections and moves nothing, in neither direction, until
// Restore: the line is dead and nobody says so.
func (l *Link) Blackhole() { l.set(func(s *linkState) { s.blackhole = true }) }

// Restore ends Cut, Hangup and Blackhole. Delay and bandwidth stay.
func (l *Link) Restore() {
	l.set(func(s *linkState) { s.cut, s.blackhole, s.cutAfter = false, false, 0 })
}

// Delay sets the latency one way; a round trip takes twice as long, and so does
// opening a connection.
func (l *Link) Delay(oneWay time.Duration) { l.set(func(s *linkState) { s.delay = oneWay }) }

// Bandwidth limits the bytes a second in each direction, over all connections
// together; 0 lifts the limit.
func (l *Link) Bandwidth(bytesPerSecond int64) {
	l.set(func(s *linkState) { s.bandwidth = bytesPerSecond })
}

func (l *Link) set(change func(*linkState)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.state)
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *Link) now() (linkState, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state, l.changed
}

func (l *Link) closeAll(reset bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.circuits {
		c.close(reset)
	}
}

// Run serves the link until ctx ends, then resets what is open.
func (l *Link) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.listener.Close() })
	defer stop()
	var open sync.WaitGroup
	for {
		near, err := l.listener.Accept()
		if err != nil {
			l.Cut()
			open.Wait()
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		open.Go(func() { l.serve(ctx, near.(*net.TCPConn)) })
	}
}

// serve lets one connection through, unless the link is cut.
func (l *Link) serve(ctx context.Context, near *net.TCPConn) {
	c := &circuit{link: l, near: near, gone: make(chan struct{})}
	defer c.close(true)
	if !l.add(c) {
		return
	}
	defer l.remove(c)
	c.run(ctx)
}

func (l *Link) add(c *circuit) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.cut {
		return false
	}
	l.circuits[c] = struct{}{}
	return true
}

func (l *Link) remove(c *circuit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.circuits, c)
	up, down := c.segments()
	l.up.segments, l.down.segments = l.up.segments+up, l.down.segments+down
}

// admit takes bytes that go up out of what CutAfter allows, and returns those
// that may pass; cut says that the link breaks after them.
func (l *Link) admit(b []byte) (allowed []byte, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.state.cutAfter
	if left == 0 {
		return b, false
	}
	if int64(len(b)) < left {
		l.state.cutAfter -= int64(len(b))
		return b, false
	}
	l.state.cutAfter = 0
	return b[:left], true
}
