// Package listening tells where something listens to whoever wants to know before
// it does: with port 0, nobody knows earlier.
package listening

import (
	"context"
	"net"
	"sync"
)

// Places are the addresses where something listens, as long as it does. They are
// safe for concurrent use.
type Places struct {
	mu    sync.Mutex
	addrs []net.Addr
	known chan struct{} // closed while addrs are
}

// New returns places that are not open.
func New() *Places { return &Places{known: make(chan struct{})} }

// Open tells the addresses. Some may be nil: those that are not used.
func (p *Places) Open(addrs ...net.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.addrs = addrs
	close(p.known)
}

// Shut ends Open.
func (p *Places) Shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = make(chan struct{})
}

// Wait waits until the places are open and returns the addresses; nil when ctx
// ends first. Of places that are open, it tells whose ctx has ended as well.
func (p *Places) Wait(ctx context.Context) []net.Addr {
	p.mu.Lock()
	known := p.known
	p.mu.Unlock()
	select {
	case <-known:
	case <-ctx.Done():
		select {
		case <-known: // both, and either may be picked
		default:
			return nil
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs
}

// First is Wait for the first address; nil when ctx ends before.
func (p *Places) First(ctx context.Context) net.Addr {
	if addrs := p.Wait(ctx); len(addrs) > 0 {
		return addrs[0]
	}
	return nil
}
