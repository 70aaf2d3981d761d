package main

import (
	"net"
	"testing"
)

// What is measured must be connected: a gateway that turned clients away would
// need little memory.
func TestParkedConnectionsAreClients(t *testing.T) {
	b := testBench(t)
	addr, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	g, err := b.startGatewayAt(t.Context(), addr, shortDir(t, b), asConfigured, nowhere, thousandsOfClients)
	if err != nil {
		t.Fatal(err)
	}
	defer g.stop()
	p := &parked{conns: make([]net.Conn, 20)}
	defer p.close()
	for _, step := range []func(int) error{func(i int) error { return p.dial(i, addr) }, p.hello, p.subscribe} {
		if err := p.each(step); err != nil {
			t.Fatal(err)
		}
	}
	s, err := g.status(t.Context())
	if err != nil || s.Doors[0].Clients != len(p.conns) {
		t.Errorf("%d clients are connected, %v", s.Doors[0].Clients, err)
	}
}
