package stompout

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/uplink"
)

// RabbitMQ does not say which message it refuses, and closes the connection. If it
// is too large, that is the largest; the others have done nothing.
func TestOnlyTheGuiltyIsPermanent(t *testing.T) {
	address, server, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ctx := within(t, soon)
	small, large, middle := begin(ctx, sink, message(0, 10)), begin(ctx, sink, message(1, 5000)), begin(ctx, sink, message(2, 100))
	var last sent
	for range 3 {
		last = receive(t, arrived)
	}
	last.conn.say(errorCommand, "PRECONDITION_FAILED - message size 5000 is larger than configured max size 4500", "message", "precondition_failed")
	last.conn.Close()
	for name, ended := range map[string]<-chan error{"small": small, "middle": middle} {
		if err := receive(t, ended); classOf(err) != isTransient || !strings.Contains(err.Error(), "another message") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := receive(t, large); classOf(err) != isTooLarge {
		t.Errorf("large: %v", err)
	}
	if n := sink.Limit(); n != 4500 {
		t.Errorf("the limit is %d, and 4500 was named", n)
	}
	next := begin(ctx, sink, message(0, 10))
	receive(t, arrived).receipt()
	if err := receive(t, next); err != nil || server.connections() != 2 {
		t.Errorf("%v, %d connections", err, server.connections())
	}
}

// What is refused for good, nobody says of which message, is held against none of
// several, and against one that is alone.
func TestPoisonIsFoundAlone(t *testing.T) {
	address, _, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ctx := within(t, soon)
	refuse := func() {
		receive(t, arrived).conn.say(errorCommand, "javax.jms.MessageFormatException: corrupt", "message", "corrupt")
	}
	a, b := begin(ctx, sink, message(0, 10)), begin(ctx, sink, message(1, 10))
	receive(t, arrived)
	refuse()
	for _, ended := range []<-chan error{a, b} {
		if err := receive(t, ended); classOf(err) != isTransient {
			t.Errorf("one of two: %v", err)
		}
	}
	alone := begin(ctx, sink, message(0, 10))
	refuse()
	if err := receive(t, alone); classOf(err) != isPermanent {
		t.Errorf("alone: %v", err)
	}
}

// ActiveMQ says which message it refuses and goes on with the others. The worst
// error of a message's parts decides.
func TestErrorWithAReceiptEndsOnlyItsMessage(t *testing.T) {
	address, server, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	ctx := within(t, soon)
	parts := begin(ctx, sink, inParts(message(0, 30), "a", "b", "c"))
	all := []sent{receive(t, arrived), receive(t, arrived), receive(t, arrived)}
	other := begin(ctx, sink, message(1, 10))
	last := receive(t, arrived)
	refuse := func(s sent, body string) {
		s.conn.say(errorCommand, body, "receipt-id", s.get("receipt"), "message", "refused")
	}
	refuse(all[0], "java.io.IOException: out of order")
	refuse(all[1], "javax.jms.ResourceAllocationException: Usage Manager")
	all[2].receipt()
	if err := receive(t, parts); classOf(err) != "30s" {
		t.Errorf("%v", err)
	}
	last.receipt()
	if err := receive(t, other); err != nil || server.connections() != 1 {
		t.Errorf("%v, %d connections", err, server.connections())
	}
}

// A limit that the server does not name is anything less than what it refused.
func TestUnnamedLimitIsApproached(t *testing.T) {
	address, _, arrived := collector(t)
	sink := newSink(t, Config{Address: address})
	for _, size := range []int{5000, 2500, 4000} {
		ended := begin(within(t, soon), sink, message(0, size))
		receive(t, arrived).conn.say(errorCommand, "", "message", "The maximum data length was exceeded")
		if err := receive(t, ended); classOf(err) != isTooLarge {
			t.Errorf("%v", err)
		}
	}
	if n := sink.Limit(); n != 2499 {
		t.Errorf("the limit is %d, want 2499", n)
	}
}

// pipe returns a Sink whose server is the function, over a connection without
// buffers, for use in a bubble.
func pipe(t *testing.T, cfg Config, serve func(c *fakeConn, in *bufio.Reader)) *Sink {
	cfg.Address = "server:61613"
	cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		go func() {
			defer far.Close()
			c, in := &fakeConn{Conn: far}, bufio.NewReader(far)
			if _, err := readFrame(in); err != nil {
				return
			}
			serve(c, in)
		}()
		return near, nil
	}
	return newSink(t, cfg)
}

// The bound that the documentation states: a connection whose server falls silent
// is given up after two heart-beats and five seconds.
func TestSilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hungUp := make(chan time.Duration, 1)
		sink := pipe(t, Config{}, func(c *fakeConn, in *bufio.Reader) {
			c.say(connectedCommand, "", "version", "1.2", "heart-beat", "60000,0")
			begun := time.Now()
			io.Copy(io.Discard, in)
			hungUp <- time.Since(begun)
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		err := sink.Send(ctx, message(0, 10))
		if took := <-hungUp; took != 2*time.Minute+5*time.Second {
			t.Errorf("given up after %v", took)
		}
		if classOf(err) != isTransient || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("%v", err)
		}
		sink.Close()
	})
}

// A server hears of us before it would give us up.
func TestHeartBeatsAreInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var beats []time.Duration
		done := make(chan struct{})
		sink := pipe(t, Config{Heartbeat: 10 * time.Second}, func(c *fakeConn, in *bufio.Reader) {
			defer close(done)
			c.say(connectedCommand, "", "version", "1.2", "heart-beat", "0,20000")
			f, err := readFrame(in)
			if err != nil {
				return
			}
			for last := time.Now(); len(beats) < 3; last = time.Now() {
				if b, err := in.ReadByte(); b != '\n' || err != nil {
					t.Errorf("%q, %v", b, err)
					return
				}
				beats = append(beats, time.Since(last))
			}
			c.say(receiptCommand, "", "receipt-id", f.get("receipt"))
		})
		if err := sink.Send(t.Context(), message(0, 10)); err != nil {
			t.Error(err)
		}
		sink.Close()
		<-done
		for _, b := range beats {
			if b < 10*time.Second || b > 18*time.Second {
				t.Errorf("a heart-beat after %v, and the server waits for 20 s", b)
			}
		}
	})
}

// A server that reads nothing holds up neither Send nor Close; while it shows life
// its connection stays, and what is half written is finished.
func TestServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const held = 3 * time.Minute
		dials := 0
		sink := pipe(t, Config{Heartbeat: 10 * time.Second}, func(c *fakeConn, in *bufio.Reader) {
			dials++
			c.say(connectedCommand, "", "version", "1.2", "heart-beat", "10000,10000")
			for range held / (10 * time.Second) {
				time.Sleep(10 * time.Second)
				c.write("\n")
			}
			for {
				f, err := readFrame(in)
				if err != nil {
					return
				}
				c.say(receiptCommand, "", "receipt-id", f.get("receipt"))
			}
		})
		begun, tries := time.Now(), 0
		for err := errors.New("not yet"); err != nil; tries++ {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err = sink.Send(ctx, message(0, 100_000))
			cancel()
			if err != nil && classOf(err) != isTransient {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); dials != 1 || took > held+time.Second {
			t.Errorf("%d connections, %d tries, %v", dials, tries, took)
		}
		sink.Close()
	})
}

// A server that is alive and never confirms is not waited for on one connection for
// ever.
func TestPatienceWithALiveServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		sink := pipe(t, Config{Heartbeat: 10 * time.Second}, func(c *fakeConn, in *bufio.Reader) {
			dials++
			c.say(connectedCommand, "", "version", "1.2", "heart-beat", "10000,0")
			go io.Copy(io.Discard, in)
			for {
				time.Sleep(10 * time.Second)
				if _, err := c.Write([]byte{'\n'}); err != nil {
					return
				}
			}
		})
		begun := time.Now()
		for dials < 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			err := sink.Send(ctx, message(0, 10))
			cancel()
			if err == nil {
				t.Fatal("confirmed by nobody")
			}
		}
		if took := time.Since(begun); took < maxPatience || took > maxPatience+2*time.Minute {
			t.Errorf("a new connection after %v", took)
		}
		sink.Close()
		time.Sleep(time.Minute) // the server notices
	})
}

func TestLeftoversAreBounded(t *testing.T) {
	l := newLeftovers()
	for n := range 3 * maxLeft {
		l.keep(message(n, 10), &flight{first: uint64(n), done: make(chan struct{})})
	}
	if len(l.all) != maxLeft || l.claim(message(0, 10)) != nil {
		t.Errorf("%d are remembered, of them the oldest", len(l.all))
	}
	if f := l.claim(message(3*maxLeft-1, 10)); f == nil || f.first != 3*maxLeft-1 {
		t.Errorf("the newest is %v", f)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, cfg := range map[string]Config{
		"NoPort":        {Address: "server", Destination: template(t, "/queue/a")},
		"NoDestination": {Address: "server:1"},
		"LineEnd":       {Address: "server:1", Destination: template(t, "/queue/a\nreceipt:x")},
		"Username":      {Address: "server:1", Destination: template(t, "/queue/a"), Username: "a\nb"},
		"Vhost":         {Address: "server:1", Destination: template(t, "/queue/a"), Vhost: "a\x00"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesBecomePiecesOfDestinations(t *testing.T) {
	for name, want := range map[string]string{
		"boiler-7_a": "boiler-7_a", "a.b": "a%2Eb", "a/b": "a%2Fb", "a,b": "a%2Cb", "a>*?": "a%3E%2A%3F", "ü": "%C3%BC", "": "_", "%2E": "%252E", "a\nb": "a%0Ab",
	} {
		if got := Escape(name); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}

func TestCautionIsAboutReceiptsThatAreWorthLess(t *testing.T) {
	for destination, words := range map[string][2]string{ // at ActiveMQ, at RabbitMQ
		"/queue/a": {"", "deletes it"}, "a": {"", ""}, "/topic/a": {"durable", "durable"}, "/exchange/a/b": {"no queue", "no queue"},
		"/amq/queue/a": {"no queue", "no queue"}, "/temp-queue/a": {"temporary", "temporary"},
	} {
		for i, server := range []string{"ActiveMQ 5.17.2", "RabbitMQ 3.10.8"} {
			if got := Caution(server, destination); words[i] == "" && got != "" || !strings.Contains(got, words[i]) {
				t.Errorf("%s at %s: %q, want %q in it", destination, server, got, words[i])
			}
		}
	}
}

// confirmAll is a server that confirms everything, many receipts at a time.
func confirmAll(conn net.Conn) {
	defer conn.Close()
	in, out := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		if f.command == connectCommand {
			out.WriteString("CONNECTED\nversion:1.2\n\n\x00")
		} else {
			out.WriteString("RECEIPT\nreceipt-id:" + f.get("receipt") + "\n\n\x00")
		}
		if in.Buffered() == 0 && out.Flush() != nil {
			return
		}
	}
}

var _ uplink.Sink = (*Sink)(nil)
