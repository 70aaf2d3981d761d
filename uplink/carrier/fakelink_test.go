package carrier

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cloud is what every fake link leads to.
const cloud = "192.0.2.1:443"

// fakeLink is the network behind a Link.
type fakeLink struct {
	*Link
	mu    sync.Mutex
	down  string // why its interface is
	fault error  // of a dial, at once; errHole for one that never ends
	dials int
	ends  []net.Conn // the other ends of its connections
}

var errHole = errors.New("swallowed")

func (f *fakeLink) up() (bool, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.down == "", f.down
}

func (f *fakeLink) address(netip.Addr) (netip.Addr, bool) { return netip.Addr{}, false }

func (f *fakeLink) dialFake(ctx context.Context, _, _ string, _ bool) (net.Conn, error) {
	f.mu.Lock()
	fault := f.fault
	f.dials++
	f.mu.Unlock()
	if errors.Is(fault, errHole) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if fault != nil {
		return nil, &net.OpError{Op: "dial", Err: fault}
	}
	near, far := net.Pipe()
	f.mu.Lock()
	f.ends = append(f.ends, far)
	f.mu.Unlock()
	go io.Copy(io.Discard, far)
	return near, nil
}

// set changes the network, as the kernel's events would tell.
func (f *fakeLink) set(down string, fault error) {
	f.mu.Lock()
	f.down, f.fault = down, fault
	f.mu.Unlock()
	f.Look()
}

func (f *fakeLink) dialled() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dials
}

// sea is a Path over fake links that runs until the test ends.
type sea struct {
	*Path
	links []*fakeLink
	stop  func()
}

func sail(t *testing.T, cfg PathConfig, configs ...Config) *sea {
	t.Helper()
	s := &sea{}
	var links []*Link
	for _, c := range configs {
		if c.Clock.Synced == nil {
			c.Clock.Synced = func() bool { return true }
		}
		f := &fakeLink{Link: open(t, c)}
		f.reach, f.connect = f, f.dialFake
		s.links, links = append(s.links, f), append(links, f.Link)
	}
	s.Path = NewPath(cfg, quietLog(), links...)
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, l := range links {
		all.Go(func() {
			if err := l.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() { s.Run(ctx) })
	s.stop = func() {
		cancel()
		all.Wait()
		for _, f := range s.links {
			for _, c := range f.connections() {
				c.Close()
			}
			for _, c := range f.ends {
				c.Close()
			}
		}
	}
	return s
}

// over dials, and returns the name of the link that was used.
func (s *sea) over(t *testing.T) (net.Conn, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := s.Dial(ctx, "tcp", cloud)
	if err != nil {
		t.Fatal(err)
	}
	return c, c.(*conn).link.Name()
}

func (s *sea) wantOver(t *testing.T, name string) net.Conn {
	t.Helper()
	c, got := s.over(t)
	if got != name {
		t.Errorf("dialled over %s, want %s", got, name)
	}
	return c
}

func closed(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func eth() Config { return Config{Name: "eth"} }
func lte() Config { return Config{Name: "lte"} }

// within runs a test in virtual time.
func within(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}
