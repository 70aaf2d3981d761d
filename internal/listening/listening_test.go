package listening

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
)

func TestWhoAsksEarlyIsToldWhenItIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New()
		addr := &net.TCPAddr{Port: 1}
		told := make(chan net.Addr, 1)
		go func() { told <- p.First(t.Context()) }()
		synctest.Wait()
		select {
		case got := <-told:
			t.Fatalf("told %v before anything listens", got)
		default:
		}
		p.Open(addr, nil)
		if got := <-told; got != addr {
			t.Errorf("told %v", got)
		}
		if all := p.Wait(t.Context()); len(all) != 2 || all[1] != nil {
			t.Errorf("told %v", all)
		}
		p.Shut()
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if got := p.First(over); got != nil {
			t.Errorf("told %v of what listens no more", got)
		}
		p.Open(addr)
		if got := p.First(t.Context()); got != addr {
			t.Errorf("told %v the second time", got)
		}
	})
}

func TestWhoseTimeIsOverIsToldWhatIsKnown(t *testing.T) {
	p := New()
	addr := &net.TCPAddr{Port: 1}
	p.Open(addr)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if got := p.First(over); got != addr {
			t.Fatalf("told %v of what listens", got)
		}
	}
}
