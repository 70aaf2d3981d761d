package firmwaresim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// farSide listens and hands every connection to serve, which it waits for.
func farSide(tb testing.TB, serve func(*net.TCPConn)) string {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				serve(conn.(*net.TCPConn))
			})
		}
	})
	tb.Cleanup(func() {
		listener.Close()
		open.Wait()
	})
	return listener.Addr().String()
}

func echo(conn *net.TCPConn) {
	io.Copy(conn, conn)
	conn.CloseWrite()
}

// startLink runs a link for the length of the test.
func startLink(tb testing.TB, to string) *Link {
	tb.Helper()
	link, err := OpenLink("127.0.0.1:0", to)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- link.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the link ended with %v", err)
		}
	})
	return link
}

func dialLink(tb testing.TB, link *Link) *net.TCPConn {
	tb.Helper()
	conn, err := net.Dial("tcp", link.Addr())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// roundTrip sends bytes to an echo and returns how long they took to come back.
func roundTrip(tb testing.TB, conn net.Conn, n int) time.Duration {
	tb.Helper()
	began := time.Now()
	var writing sync.WaitGroup
	writing.Go(func() { conn.Write(make([]byte, n)) })
	defer writing.Wait()
	if _, err := io.ReadFull(conn, make([]byte, n)); err != nil {
		tb.Fatalf("the echo did not come back: %v", err)
	}
	return time.Since(began)
}

func TestLinkPassesEveryByteAndCountsIt(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	conn := dialLink(t, link)
	sent := make([]byte, 3<<20)
	fillNoise(sent)
	var writing sync.WaitGroup
	writing.Go(func() {
		conn.Write(sent)
		conn.CloseWrite()
	})
	got, err := io.ReadAll(conn)
	writing.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("got %d bytes back, error %v; sent %d", len(got), err, len(sent))
	}
	if up, down := link.Bytes(); up != 3<<20 || down != 3<<20 {
		t.Fatalf("counted %d up, %d down", up, down)
	}
}

// fillNoise fills b with seeded noise.
func fillNoise(b []byte) {
	device := NewDevice(1, 0, Opaque, false)
	for n := 0; n < len(b); {
		n += copy(b[n:], device.Append(nil, time.Time{}))
	}
}

func TestLinkHandsOnAHalfClose(t *testing.T) {
	link := startLink(t, farSide(t, func(conn *net.TCPConn) {
		request, _ := io.ReadAll(conn) // ends only with the half-close
		conn.Write(append([]byte("answer to "), request...))
	}))
	conn := dialLink(t, link)
	conn.Write([]byte("request"))
	conn.CloseWrite()
	if got, err := io.ReadAll(conn); string(got) != "answer to request" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestCutResetsWhatIsOpenAndWhatComes(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	conn := dialLink(t, link)
	roundTrip(t, conn, 10)

	link.Cut()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("the open connection ended with %v, not with a reset", err)
	}
	if fresh, err := net.Dial("tcp", link.Addr()); err == nil { // a reset may come this early
		defer fresh.Close()
		if _, err := fresh.Read(make([]byte, 1)); err == nil {
			t.Fatal("a cut link delivered a byte")
		}
	}
	link.Restore()
	roundTrip(t, dialLink(t, link), 10)
}

func TestHangupEndsTheStreamPolitely(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	conn := dialLink(t, link)
	roundTrip(t, conn, 10)
	link.Hangup()
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("got %v, want the end of the stream", err)
	}
}

func TestCutAfterBreaksInTheMiddleOfABody(t *testing.T) {
	received := make(chan int64, 1)
	link := startLink(t, farSide(t, func(conn *net.TCPConn) {
		n, _ := io.Copy(io.Discard, conn)
		received <- n
	}))
	link.CutAfter(100_000)
	conn := dialLink(t, link)
	conn.Write(make([]byte, 1<<20))
	if n := <-received; n > 100_000 {
		t.Fatalf("%d bytes arrived", n)
	}
	if up, _ := link.Bytes(); up != 100_000 {
		t.Fatalf("%d bytes went up before the cut, want 100000", up)
	}
}

func TestBlackholeHoldsEverythingBackUntilRestored(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	open := dialLink(t, link)
	roundTrip(t, open, 10)
	link.Blackhole()
	open.Write([]byte("held back"))
	fresh := dialLink(t, link) // accepted all the same
	fresh.Write([]byte("also"))
	open.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := open.Read(make([]byte, 1)); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a black hole answered: %d bytes, %v", n, err)
	}
	open.SetReadDeadline(time.Now().Add(patience))
	link.Restore()
	got := make([]byte, 9)
	if _, err := io.ReadFull(open, got); err != nil || string(got) != "held back" {
		t.Fatalf("after the restore: %q, %v", got, err)
	}
	if _, err := io.ReadFull(fresh, got[:4]); err != nil || string(got[:4]) != "also" {
		t.Fatalf("the new connection: %q, %v", got[:4], err)
	}
}

// inTime does something until it takes no longer than most: a busy machine makes it
// longer now and then. It may never take less than least.
func inTime(t *testing.T, what string, least, most time.Duration, do func() time.Duration) {
	t.Helper()
	for began := time.Now(); ; {
		took := do()
		if took < least {
			t.Fatalf("%s took %v, want %v at least", what, took, least)
		}
		if took <= most {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("%s took %v each time, want %v at most", what, took, most)
		}
	}
}

func TestDelayIsPaidOncePerRoundTripNotPerMessage(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	link.Delay(60 * time.Millisecond)
	var conn net.Conn
	inTime(t, "the handshake and a round trip", 240*time.Millisecond, 2*time.Second, func() time.Duration {
		conn = dialLink(t, link)
		return roundTrip(t, conn, 10)
	})
	inTime(t, "a round trip", 120*time.Millisecond, time.Second, func() time.Duration { return roundTrip(t, conn, 10) })
	// A hundred messages on the way at once: stop-and-wait would take 12 s.
	inTime(t, "100 pipelined messages", 120*time.Millisecond, 2*time.Second, func() time.Duration {
		began := time.Now()
		for range 100 {
			conn.Write(make([]byte, 1000))
		}
		if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	})
}

func TestBandwidthIsSharedByAllConnections(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	link.Bandwidth(400_000)
	inTime(t, "120 kB at 400 kB/s", 270*time.Millisecond, 2*time.Second, func() time.Duration {
		began := time.Now()
		var both sync.WaitGroup
		for range 2 {
			conn := dialLink(t, link)
			both.Go(func() { roundTrip(t, conn, 60_000) })
		}
		both.Wait()
		return time.Since(began)
	})
}

func TestALongThinLinkIsFilledByPipelining(t *testing.T) {
	link := startLink(t, farSide(t, echo))
	link.Delay(150 * time.Millisecond)
	link.Bandwidth(320_000)
	conn := dialLink(t, link)
	roundTrip(t, conn, 1)
	// One round trip of 300 ms and 96 kB at 320 kB/s: as much again.
	inTime(t, "both", 570*time.Millisecond, 2*time.Second, func() time.Duration { return roundTrip(t, conn, 96_000) })
}

// BenchmarkLink is the throughput of a link without limits, both ends included.
func BenchmarkLink(b *testing.B) {
	received := make(chan struct{})
	link := startLink(b, farSide(b, func(conn *net.TCPConn) {
		io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, make([]byte, 256<<10))
		received <- struct{}{}
	}))
	conn := dialLink(b, link)
	conn.SetDeadline(time.Time{})
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	conn.CloseWrite()
	<-received
}
