package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// thousandsOfClients is a gateway that is made for them.
var thousandsOfClients = build{memory: "295MiB", clients: 10_100}

// idle10k looks at what connections cost that say nothing: how long it takes
// until all are in, the memory in each state that they go through, and the
// processor while nothing happens.
func (b *bench) idle10k(ctx context.Context) (err error) {
	n := pick(b, 1000, 10_000)
	dir, remove, err := b.folder("idle")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	g, err := b.startGatewayAt(ctx, addr, dir, asConfigured, nowhere, thousandsOfClients)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	alone, err := g.memoryAfter(ctx, calm)
	if err != nil {
		return err
	}
	p := &parked{conns: make([]net.Conn, n)}
	defer p.close()
	states := table{Cell: "idle10k", Columns: []string{"state", "all after s", "MiB", "KiB each"}}
	for _, s := range []struct {
		name string
		step func(i int) error
		rest time.Duration
	}{
		{"connected", func(i int) error { return p.dial(i, addr) }, time.Second}, // who says nothing is thrown out soon
		{"established", p.hello, calm},
		{"subscribed", p.subscribe, calm},
	} {
		began := time.Now()
		if err := p.each(s.step); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		took := time.Since(began)
		now, err := g.memoryAfter(ctx, s.rest)
		if err != nil {
			return err
		}
		states.Rows = append(states.Rows, row{[]string{s.name}, []float64{took.Seconds(), now, (now - alone) * 1024 / float64(n)}})
		b.say("%d %s after %v: %.0f MiB", n, s.name, took, now)
	}
	b.report.Tables = append(b.report.Tables, states)
	return b.idling(ctx, g, thousands(uint64(n))+" idle connections")
}

// idling reports the memory and the processor time of a gateway at rest.
func (b *bench) idling(ctx context.Context, g *gateway, what string) error {
	before, err := g.cpu()
	if err != nil {
		return err
	}
	now, err := g.memoryAfter(ctx, 4*calm)
	after, failed := g.cpu()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	b.report.add("idle10k", what, now, "MiB", most(300))
	b.report.add("idle10k", what+": processor", 100*(after-before).Seconds()/(4*calm).Seconds(), "% of a core", most(5))
	return nil
}

// parked are connections that only wait.
type parked struct{ conns []net.Conn }

// each calls f for all connections, some at a time.
func (p *parked) each(f func(i int) error) error {
	const workers = 64
	failed := make([]error, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < len(p.conns) && failed[w] == nil; i += workers {
				failed[w] = f(i)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

// dial connects from one of several addresses of this machine, each of which has
// some 28,000 ports to connect from.
func (p *parked) dial(i int, addr string) (err error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+i%4))}
	p.conns[i], err = (&net.Dialer{LocalAddr: from, Timeout: startPatience}).Dial("tcp", addr)
	return err
}

// hello sends a CONNECT of MQTT 3.1.1 without keep-alive.
func (p *parked) hello(i int) error {
	packet := append([]byte("\x10\x14\x00\x04MQTT\x04\x02\x00\x00\x00\x08"), fmt.Sprintf("c%07d", i)...)
	return p.ask(i, packet, "\x20\x02\x00\x00")
}

// subscribe subscribes to a topic that nobody else has.
func (p *parked) subscribe(i int) error {
	packet := append([]byte("\x82\x11\x00\x01\x00\x0c"), fmt.Sprintf("cmd/c%07d\x01", i)...)
	return p.ask(i, packet, "\x90\x03\x00\x01\x01")
}

func (p *parked) ask(i int, packet []byte, want string) error {
	p.conns[i].SetDeadline(time.Now().Add(startPatience))
	if _, err := p.conns[i].Write(packet); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(p.conns[i], got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("packet %x was answered with %x", binary.BigEndian.Uint16(packet), got)
	}
	return nil
}

func (p *parked) close() {
	for _, c := range p.conns {
		if c != nil {
			c.Close()
		}
	}
}
