package stompout

import (
	"bufio"
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/tidegate/tidegate/uplink/uplinktest"
)

// fakeServer is a server whose answers a test decides on. It speaks just enough
// STOMP to be logged in to.
type fakeServer struct {
	t       *testing.T
	answer  func(c *fakeConn, f *frame) // to every SEND, each in a goroutine of its own
	connect func(c *fakeConn, f *frame) // nil: CONNECTED
	tasks   sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	total int // connections so far
}

type fakeConn struct {
	net.Conn
	mu sync.Mutex
}

// say sends a frame.
func (c *fakeConn) say(command, body string, headers ...string) {
	f := frame{command: command}
	for i := 0; i < len(headers); i += 2 {
		f.headers = append(f.headers, header{headers[i], headers[i+1]})
	}
	text := f.append(nil)
	c.write(string(text[:len(text)-1]) + body + "\x00\n")
}

func (c *fakeConn) write(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Write([]byte(text)) // whoever has gone hears nothing
}

// serve starts the server and returns its address.
func (s *fakeServer) serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.t, s.conns = t, map[net.Conn]struct{}{}
	s.tasks.Go(func() {
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns[raw] = struct{}{}
			s.total++
			s.mu.Unlock()
			s.tasks.Go(func() { s.talk(&fakeConn{Conn: raw}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.hangUp()
		s.tasks.Wait()
	})
	return l.Addr().String()
}

// hangUp closes all connections.
func (s *fakeServer) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

func (s *fakeServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *fakeServer) talk(c *fakeConn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		f, err := readFrame(in)
		if err != nil {
			return
		}
		switch f.command {
		case connectCommand:
			if s.connect != nil {
				s.connect(c, f)
				continue
			}
			c.say(connectedCommand, "", "version", "1.2", "server", "fake/1", "heart-beat", "0,0")
		case sendCommand:
			s.tasks.Go(func() { s.answer(c, f) })
		}
	}
}

// peer is a server that answers as judge says.
func peer(t *testing.T, judge uplinktest.Judge) string {
	s := &fakeServer{answer: func(c *fakeConn, f *frame) {
		if n, err := strconv.Atoi(f.get("content-length")); err != nil || n != len(f.body) || f.get("persistent") != "true" {
			t.Errorf("a body of %d bytes came with %v", len(f.body), f.headers)
		}
		receipt := f.get("receipt")
		switch judge(uplinktest.Received{Key: f.get(KeyHeader), Body: f.body}) {
		case uplinktest.Accept:
			c.say(receiptCommand, "", "receipt-id", receipt)
		case uplinktest.Later:
			c.say(errorCommand, "", "receipt-id", receipt, "message", "out of order")
		case uplinktest.Never:
			c.say(errorCommand, "javax.jms.MessageFormatException: corrupt\n\tat Somewhere", "receipt-id", receipt, "message", "corrupt")
		case uplinktest.Garbage:
			c.write("HTTP/1.1 200 OK\r\n\r\n")
		}
	}}
	return s.serve(t)
}
