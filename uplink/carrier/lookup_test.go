package carrier

import (
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// nameServer answers questions as the function says: nil for not at all.
func nameServer(t *testing.T, answer func(question []byte) []byte) netip.AddrPort {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if a := answer(slices.Clone(buf[:n])); a != nil {
				_, _ = c.WriteTo(a, from)
			}
		}
	}()
	return netip.MustParseAddrPort(c.LocalAddr().String())
}

// located answers questions for an A record with 192.0.2.7, and others with nothing.
func located(q []byte) []byte {
	end := 12
	for q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5
	a := slices.Clone(q[:end])
	a[2], a[3], a[7], a[11] = 0x81, 0x80, 0, 0
	if q[end-3] == 1 {
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7)
	}
	return a
}

func TestLookupAsksAgainAndSaysWhom(t *testing.T) {
	var asked atomic.Int64
	var down atomic.Bool
	server := nameServer(t, func(q []byte) []byte {
		asked.Add(1)
		if down.Load() {
			q[2], q[3] = 0x81, 0x82 // out of order
			return q
		}
		return located(q)
	})
	l := newLink(Config{Name: "lte", DNS: []netip.AddrPort{server}, DialTimeout: 3 * time.Second}, quietLog())
	for range 2 {
		before := asked.Load()
		found, err := l.Lookup(t.Context(), "tcp", "cloud.example")
		if err != nil || len(found.Addrs) != 1 || found.Addrs[0] != netip.MustParseAddr("192.0.2.7") || !slices.Equal(found.Servers, []string{server.String()}) || found.Over != "lte" || found.Failed != nil {
			t.Errorf("%+v, %v", found, err)
		}
		if asked.Load() == before {
			t.Error("it has asked nobody")
		}
	}
	if addrs, err := l.names.lookup(t.Context(), "tcp", "cloud.example"); err != nil || len(addrs) != 1 {
		t.Errorf("a dial does not know it: %v, %v", addrs, err)
	}
	down.Store(true)
	found, err := NewPath(PathConfig{}, quietLog(), l).Lookup(t.Context(), "tcp", "cloud.example")
	if err != nil || len(found.Addrs) != 1 || found.Failed == nil || found.Ago <= 0 {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := l.Lookup(t.Context(), "tcp", "other.example"); err == nil {
		t.Error("nobody knows it")
	}
	if found, err := l.Lookup(t.Context(), "tcp", "192.0.2.9"); err != nil || len(found.Servers) > 0 || len(found.Addrs) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestLookupOverALinkThatIsDown(t *testing.T) {
	l := newLink(Config{Name: "lte", Interface: "wwan77"}, quietLog())
	if _, err := NewPath(PathConfig{}, quietLog(), l).Lookup(t.Context(), "tcp", "cloud.example"); err == nil {
		t.Error("found by nobody")
	}
}
