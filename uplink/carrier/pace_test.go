package carrier

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// piped returns a connection over the link, and what reads its other end.
func piped(t *testing.T, l *Link) *conn {
	t.Helper()
	near, far := net.Pipe()
	go io.Copy(io.Discard, far)
	c := l.join(newConn(l, near, nil))
	t.Cleanup(func() {
		c.Close()
		far.Close()
	})
	return c
}

func TestWritesKeepToTheRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 8000 // 64 kbit/s
		l := open(t, Config{Name: "sat", Rate: rate})
		c := piped(t, l)
		begun := time.Now()
		const size = 100 << 10
		if n, err := c.Write(make([]byte, size)); n != size || err != nil {
			t.Fatal(n, err)
		}
		took := time.Since(begun).Seconds()
		segments := (size + usualMSS - 1) / usualMSS
		wire := float64(size + segments*(ip4Header+tcpHeader+timestamps))
		if got := (wire - usualMSS - 52) / took; got > rate*1.01 || got < rate*0.95 { // the first chunk does not wait
			t.Errorf("%.0f bytes a second on the wire, want %d", got, rate)
		}
	})
}

// TestAnAlarmWaitsForOneChunk: what is urgent goes on a connection of its own
// while another one is busy with much.
func TestAnAlarmWaitsForOneChunk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Name: "sat", Rate: 8000})
		bulk, alarm := piped(t, l), piped(t, l)
		var all sync.WaitGroup
		all.Go(func() { bulk.Write(make([]byte, 1<<20)) })
		time.Sleep(time.Second)
		begun := time.Now()
		if _, err := alarm.Write(make([]byte, 200)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 400*time.Millisecond {
			t.Errorf("an alarm waited %v", took)
		}
		bulk.Close()
		all.Wait()
	})
}

func TestAWriteThatWaitsCanBeEnded(t *testing.T) {
	within(t, "ByItsDeadline", func(t *testing.T) {
		c := piped(t, open(t, Config{Name: "sat", Rate: 100}))
		c.SetWriteDeadline(time.Now().Add(30 * time.Second))
		begun := time.Now()
		n, err := c.Write(make([]byte, 10_000))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 10_000 || time.Since(begun) != 30*time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(begun))
		}
	})
	within(t, "ByAnotherDeadline", func(t *testing.T) {
		c := piped(t, open(t, Config{Name: "sat", Rate: 100}))
		begun := time.Now()
		time.AfterFunc(5*time.Second, func() { c.SetDeadline(time.Now()) }) // as libraries call off a Write
		if _, err := c.Write(make([]byte, 10_000)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
	within(t, "ByClose", func(t *testing.T) {
		c := piped(t, open(t, Config{Name: "sat", Rate: 100}))
		begun := time.Now()
		time.AfterFunc(5*time.Second, func() { c.Close() })
		if _, err := c.Write(make([]byte, 10_000)); !errors.Is(err, net.ErrClosed) || time.Since(begun) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
	within(t, "AndGivesItsTurnBack", func(t *testing.T) {
		l := open(t, Config{Name: "sat", Rate: 100})
		c, other := piped(t, l), piped(t, l)
		c.SetWriteDeadline(time.Now().Add(time.Second))
		c.Write(make([]byte, 10_000)) // one chunk went, and the second was promised
		begun := time.Now()
		other.Write(make([]byte, 100))
		if took := time.Since(begun); took > 14*time.Second {
			t.Errorf("waited %v for a turn that nobody uses", took)
		}
	})
}

func TestReadersAreNotThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, Config{Name: "sat", Rate: 100})
		near, far := net.Pipe()
		c := l.join(newConn(l, near, nil))
		defer c.Close()
		go func() {
			far.Write(make([]byte, 1<<20))
			far.Close()
		}()
		begun := time.Now()
		if n, err := io.Copy(io.Discard, c); n != 1<<20 || err != nil || time.Since(begun) > 0 {
			t.Errorf("%d, %v after %v", n, err, time.Since(begun))
		}
	})
}

// TestNameServersOfTheLink asks them in turn, and falls back on what was known.
func TestNameServersOfTheLink(t *testing.T) {
	l := open(t, Config{Name: "lte", DNS: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.53:53"), netip.MustParseAddrPort("192.0.2.54:53")}})
	var mu sync.Mutex // A and AAAA are asked for side by side
	asked := make(map[string]int)
	l.connect = func(_ context.Context, _, address string, _ bool) (net.Conn, error) {
		mu.Lock()
		defer mu.Unlock()
		asked[address]++
		return nil, &net.OpError{Op: "dial", Err: errors.New("no way")}
	}
	if _, err := l.names.lookup(t.Context(), "tcp", "cloud.example"); err == nil {
		t.Error("found a name without a name server")
	}
	if asked["192.0.2.53:53"] == 0 || asked["192.0.2.54:53"] == 0 || len(asked) != 2 {
		t.Errorf("asked %v", asked)
	}
	known := []netip.Addr{netip.MustParseAddr("192.0.2.1")}
	l.names.remember("tcp cloud.example", answer{known, time.Now().Add(-time.Hour)})
	if got, err := l.names.lookup(t.Context(), "tcp", "cloud.example"); err != nil || got[0] != known[0] {
		t.Errorf("%v, %v", got, err)
	}
	l.names.remember("tcp cloud.example", answer{known, time.Now().Add(-namesStale - time.Hour)})
	if _, err := l.names.lookup(t.Context(), "tcp", "cloud.example"); err == nil {
		t.Error("used an address of last week")
	}
	for i := range 3 * maxNames {
		l.names.remember(string(rune('a'+i)), answer{known, time.Now()})
	}
	if n := len(l.names.known); n > maxNames {
		t.Errorf("%d names are kept", n)
	}
}

func BenchmarkWrite(b *testing.B) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	for name, dial := range map[string]func() (net.Conn, error){
		"plain": func() (net.Conn, error) { return net.Dial("tcp", listener.Addr().String()) },
		"link": func() (net.Conn, error) {
			return Open(Config{Name: "eth"}, quietLog()).Dial(b.Context(), "tcp", listener.Addr().String())
		},
		"link with a budget": func() (net.Conn, error) {
			return Open(Config{Name: "eth", Budget: Budget{Month: 1 << 50}}, quietLog()).Dial(b.Context(), "tcp", listener.Addr().String())
		},
	} {
		b.Run(name, func(b *testing.B) {
			c, err := dial()
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			message := make([]byte, 4<<10)
			b.SetBytes(int64(len(message)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(message); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkPermit(b *testing.B) {
	for name, cfg := range map[string]Config{
		"free":  {Name: "eth"},
		"tight": {Name: "lte", Budget: Budget{Day: 1 << 40, Month: 1 << 50, Spread: true}, Schedule: Schedule{{}, {}}},
	} {
		for i := range cfg.Schedule {
			w, err := ParseWindow("*/5 * * * * for 3m")
			if err != nil {
				b.Fatal(err)
			}
			cfg.Schedule[i] = w
		}
		l := Open(cfg, quietLog())
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Permit()
			}
		})
	}
}
