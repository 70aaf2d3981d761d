package wsout

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// slowly returns a Dial whose connections write nothing more once stuck is closed,
// until they are closed themselves.
func slowly(stuck <-chan struct{}) uplink.Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, address)
		return &slowConn{Conn: conn, stuck: stuck, over: make(chan struct{})}, err
	}
}

type slowConn struct {
	net.Conn
	stuck  <-chan struct{}
	over   chan struct{}
	closed atomic.Bool
}

func (c *slowConn) Write(b []byte) (int, error) {
	select {
	case <-c.stuck:
		<-c.over
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(b)
	}
}

func (c *slowConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		close(c.over)
	}
	return c.Conn.Close()
}

// A connection that ends with "too large" while several messages are on it, one of
// them half-way out and others still waiting for their turn, blames none of them.
func TestWhatWasNotSentIsNotRefused(t *testing.T) {
	arrived, stuck := make(chan *websocket.Conn, 1), make(chan struct{})
	sink := newSink(t, Config{Dial: slowly(stuck), URL: "ws://" + peer(t, func(c *websocket.Conn, _ string, _ []byte) { arrived <- c })})
	errs := make(chan error, 4)
	go func() { errs <- sink.Send(within(t), message(0, 10)) }()
	c := <-arrived
	close(stuck)
	for i := range 3 {
		go func() { errs <- sink.Send(within(t), message(i+1, 10)) }()
	}
	waitFor(t, func() bool {
		sink.line.mu.Lock()
		defer sink.line.mu.Unlock()
		return len(sink.line.waiting) == 4
	})
	go c.Close(websocket.StatusMessageTooBig, "")
	for range 4 {
		if err := <-errs; classOf(err) != transient {
			t.Errorf("%v is %s, want transient", err, classOf(err))
		}
	}
}

// A Send whose time ends while it writes has ended the connection when it returns,
// though the answer comes in that very moment: the next one would find it alive.
func TestCutOffWhileItWritesHasEndedTheConnection(t *testing.T) {
	for range 20 { // an answer and the end of the time are equals to select
		c := new(lastMoment)
		sink := newSink(t, Config{
			URL: "ws://" + peer(t, func(c *websocket.Conn, key string, _ []byte) { answerTo(t, c, key, uplinktest.Accept) }),
			Dial: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
				c.Conn, err = new(net.Dialer).DialContext(ctx, network, address)
				return c, err
			},
		})
		if err := sink.Send(within(t), message(1, 10)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(within(t))
		c.written = func() {
			waitFor(t, func() bool {
				sink.line.mu.Lock()
				defer sink.line.mu.Unlock()
				return len(sink.line.waiting) == 0
			})
			cancel()
		}
		_ = sink.Send(ctx, message(2, 10))
		if sink.line.works() {
			t.Fatal("it is about to be closed, and the next one would be sent over it")
		}
	}
}

// lastMoment is a connection whose writes are followed by something.
type lastMoment struct {
	net.Conn
	written func()
}

func (c *lastMoment) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if c.written != nil {
		c.written()
	}
	return n, err
}

// A message that is refused while it is still being written, because its head says
// how large it will be, is refused.
func TestRefusedHalfWayIsRefused(t *testing.T) {
	connected, stuck := make(chan *websocket.Conn, 1), make(chan struct{})
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Protocol}})
		if err == nil {
			connected <- c
			c.Read(context.Background())
		}
	})
	sink := newSink(t, Config{URL: "ws://" + address, Dial: slowly(stuck)})
	if _, err := sink.Probe(within(t)); err != nil {
		t.Fatal(err)
	}
	c := <-connected
	close(stuck)
	failed := make(chan error)
	go func() { failed <- sink.Send(within(t), message(1, 10)) }()
	waitFor(t, func() bool {
		sink.line.mu.Lock()
		defer sink.line.mu.Unlock()
		return len(sink.line.waiting) == 1
	})
	go c.Close(websocket.StatusMessageTooBig, "")
	if err := <-failed; classOf(err) != tooLarge {
		t.Errorf("%v is %s, want too large", err, classOf(err))
	}
}

// endless counts what is read of it.
type endless struct {
	net.Conn
	n *atomic.Int64
}

func (e endless) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	e.n.Add(int64(n))
	return n, err
}

// What answers the handshake without an end, be it one line or header after header,
// is given up before it has filled the memory.
func TestEndlessHandshakeIsBounded(t *testing.T) {
	for name, piece := range map[string]string{"Line": strings.Repeat("x", 1000), "Headers": "X-Again: and again\r\n"} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				conn, err := l.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				http.ReadRequest(bufio.NewReader(conn))
				io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
				for err == nil {
					_, err = io.WriteString(conn, piece)
				}
			}()
			var read atomic.Int64
			sink := newSink(t, Config{URL: "ws://" + l.Addr().String(), Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				var d net.Dialer
				conn, err := d.DialContext(ctx, network, address)
				return endless{conn, &read}, err
			}})
			ctx := within(t)
			err = sink.Send(ctx, message(1, 1))
			if classOf(err) != transient || ctx.Err() != nil || !strings.Contains(err.Error(), "hint: ") || read.Load() > 1<<20 {
				t.Errorf("%d bytes read: %v", read.Load(), err)
			}
			l.Close()
			<-ended
		})
	}
}
